"""The results file: rows survive unchanged, each measurement has one, and foreign files are told apart."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from bench.machine.probe import Reading
from bench.records.environment import PACKAGES, describe_environment
from bench.records.record import CaseInfo, Cell, Environment, Record
from bench.records.store import FILE_NAME, SCHEMA_VERSION, Store, StoreError, latest
from bench.records.text import MOST, storable
from tests import ROOT

ENVIRONMENT = Environment("key", "a machine", "", "Linux", {"python": "3"})
INFO = CaseInfo("a", "MLP", 8, 2, None, 3, 99, "random", digest="d1")


def record(method: str = "m", replicate: int = 0, digest: str = "d1", **changes: object) -> Record:
    cell, info = Cell(method, "a", options={"b": 1, "a": [2]}), dataclasses.replace(INFO, digest=digest)
    made = Record(cell, info, replicate, "ok", kind="stochastic", error=1e-7, tolerance=1e-5,
                  checked_against="proof", setup_s=0.1, first_call_s=0.2, samples_s=(0.01, 0.02),
                  peak_bytes=3, kernel_bytes=4, started_at="2030-01-01T00:00:00+00:00",
                  environment="key", method_digest="f", stderr="line\n<b>")
    return dataclasses.replace(made, **changes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "new" / "folder")
    store.add_run(ENVIRONMENT, {"profile": "quick"}, "now")
    rows = [record(), record("bare", error=float("inf"), tolerance=None, samples_s=(), peak_bytes=None)]
    for row in rows:
        store.add(row)
    for reopened in (Store(tmp_path / "new" / "folder"), Store(tmp_path / "new" / "folder" / FILE_NAME)):
        assert reopened.records() == rows
        assert [row.info.digest for row in reopened.records()] == ["d1", "d1"]
        assert reopened.environments() == {"key": ENVIRONMENT}


def test_texts_are_cut_and_escaped_where_they_are_stored(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    texts = ["lone \udcff, \x1b[31mred, \u2603", "a" * 2_000_000, "\udcff" * 5000, "x" * MOST, "\x00" * 900,
             "two\nlines"]
    for index, text in enumerate(texts):
        assert store.add(record(replicate=index, reason=text, stderr=text)) == store.records()[-1]
    stored = [row.reason for row in store.records()]
    assert stored[0] == r"lone \udcff, \x1b[31mred, ☃"
    assert stored[3] == texts[3]
    assert stored[5] == texts[5]
    assert "2000000 characters" in stored[1]
    assert all(len(text) <= MOST and storable(text) == text and text.encode() for text in stored)


def test_one_row_for_a_measurement(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    store.add(record(reason="old"))
    for row in (record(reason="new"), record(replicate=1), record(digest="d2"), record(environment="other"),
                record(method_digest="edited")):
        store.add(row)
    assert sorted(row.reason for row in store.records()) == ["", "", "", "", "new"]


def test_latest_leaves_out_what_was_superseded(tmp_path: Path) -> None:
    rows = [record("m", digest="old"), record("m", environment="elsewhere"), record("m", method_digest="old"),
            record("m"), record("other")]
    assert latest(rows) == [rows[3], rows[4]]
    assert latest(rows, "elsewhere") == [rows[1]]
    assert latest([]) == []


def test_missing_results_are_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="bench run"):
        Store(tmp_path)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out"):
        Store.create(tmp_path / "file" / "folder")


def test_read_only_file(tmp_path: Path) -> None:
    Store.create(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        if os.access(tmp_path / FILE_NAME, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(StoreError, match="cannot write"):
            Store.create(tmp_path)
    finally:
        tmp_path.chmod(0o755)


def test_a_full_disk_is_said_and_finished_rows_stay(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limit to the size of a file here")
    store = Store.create(tmp_path)
    store.add(record())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / FILE_NAME).stat().st_size, before[1]))
    try:
        with pytest.raises(StoreError, match="room on the disk"):
            _fill(store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.records()[0] == record()
    store.add(record(replicate=99))
    assert store.records()[-1].replicate == 99


def _fill(store: Store) -> None:
    for replicate in range(1, 99):
        store.add(record(replicate=replicate, stderr="x" * MOST))


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    for replicate in range(50):
        store.add(record(replicate=replicate, stderr="x" * MOST))
    size = (tmp_path / FILE_NAME).stat().st_size
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(size // 20)
        file.write(b"\xa5" * (size // 2))
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path).records()


def test_a_file_in_which_another_program_is_at_work_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, connect = Store.create(tmp_path), sqlite3.connect
    with closing(connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0))
        for step in (store.records, lambda: store.add(record()), lambda: Store(tmp_path)):
            with pytest.raises(StoreError, match="Another program is at work in it"):
                step()


OLD = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started_at TEXT, environment TEXT, options TEXT);
CREATE TABLE environments (key TEXT PRIMARY KEY, machine TEXT, accelerator TEXT, system TEXT, versions TEXT);
INSERT INTO environments VALUES ('key', 'a machine', '', 'Linux', '{"python": "3"}');
CREATE TABLE records (
    id INTEGER PRIMARY KEY, method TEXT, "case" TEXT, outputs TEXT, dtype TEXT, device TEXT, threads INTEGER,
    batch_size INTEGER, seed INTEGER, options TEXT, network TEXT, width INTEGER, n1 INTEGER, n2 INTEGER,
    n_outputs INTEGER, n_params INTEGER, data TEXT, digest TEXT, replicate INTEGER, status TEXT, kind TEXT, reason TEXT,
    error REAL, tolerance REAL, checked_against TEXT, setup_s REAL, first_call_s REAL, samples_s TEXT,
    peak_bytes INTEGER, kernel_bytes INTEGER, started_at TEXT, environment TEXT, method_digest TEXT, stderr TEXT);
CREATE UNIQUE INDEX measurement ON records (
    method, "case", outputs, dtype, device, threads, coalesce(batch_size, 0), seed, options, digest, replicate,
    environment, method_digest);
INSERT INTO records VALUES (
    1, 'm', 'a', 'full', 'float32', 'cpu', 1, NULL, 0, '{"a":[2],"b":1}', 'MLP', 8, 2, NULL, 3, 99, 'random', 'd1', 0,
    'ok', 'stochastic', '', 1e-7, 1e-5, 'proof', 0.1, 0.2, '[0.01,0.02]', 3, 4, '2030-01-01T00:00:00+00:00', 'key',
    'f', 'line
<b>');
PRAGMA application_id = 1853123426; PRAGMA user_version = 1;
"""
"""The schema before anything was added to it, with one row: `record()`."""


def test_a_file_of_the_first_schema_is_read_and_written(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executescript(OLD)
    assert Store(tmp_path).records() == [record()], "reading changes no file"
    assert Store(tmp_path).environments() == {"key": ENVIRONMENT}
    store = Store.create(tmp_path)
    noticed = record(replicate=1, position=7, disturbance=0.25, machine=1.5, instructions=10**12, attempts=3,
                     noticed="a child lived on", node="n2", remark="r", amplification=2.0)
    known = dataclasses.replace(ENVIRONMENT, key="new", facts={"governor": "powersave"})
    store.add(noticed)
    store.add_run(known, {}, "now")
    assert store.records() == [record(), noticed]
    assert store.environments() == {"key": ENVIRONMENT, "new": known}


def test_the_best_reading_is_of_its_environment(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executescript(OLD)
    store = Store.create(tmp_path)
    assert store.best_reading("key") is None
    for reading in (Reading(4.0, 3.0, 2.0, 1.0), Reading(1.0, 2.0, 3.0, 4.0)):
        store.add_reading("key", "now", reading)
    store.add_reading("other", "now", Reading(0.1, 0.1, 0.1, 0.1))
    assert store.best_reading("key") == Reading(1.0, 2.0, 2.0, 1.0)


def test_another_version(tmp_path: Path) -> None:
    Store.create(tmp_path)
    _execute(tmp_path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="another version"):
        Store.create(tmp_path)


def test_foreign_files(tmp_path: Path) -> None:
    _execute(tmp_path, "CREATE TABLE t (a)")
    with pytest.raises(StoreError, match="no results file"):
        Store.create(tmp_path)
    (tmp_path / FILE_NAME).write_text("this is a text, and long enough to be taken for a database header" * 20)
    with pytest.raises(StoreError, match="cannot be read"):
        Store.create(tmp_path)


def _execute(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.execute(statement)


def test_environment_names_no_place_and_no_person() -> None:
    environment = describe_environment()
    assert environment == describe_environment()
    text = repr(environment)
    assert str(Path.home()) not in text
    assert str(ROOT) not in text
    assert {"python", "numpy", "source"} <= set(environment.versions)


def test_another_allocator_is_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = describe_environment()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "67108864")
    monkeypatch.setenv("LD_PRELOAD", "/home/someone/lib/libjemalloc.so.2:/opt/other.so")
    after = describe_environment()
    assert after.key != before.key
    assert after.versions["MALLOC_TRIM_THRESHOLD_"] == "67108864"
    assert after.versions["LD_PRELOAD"] == "libjemalloc.so.2:other.so", "no folders"


def test_environment_has_every_library_that_computes_a_kernel() -> None:
    versions = describe_environment().versions
    assert "nvidia-cudnn-cu13" in PACKAGES
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            assert version(package) == versions[package]
    peers = {line.partition("==")[0] for line in (ROOT / "requirements-nodeps.txt").read_text().splitlines()
             if not line.startswith("#")}
    assert peers | {"traker"} <= set(PACKAGES)
