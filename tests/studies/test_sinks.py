"""What is written to each sink is there, by the sink's own reader; a run that goes on leaves nothing twice."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference import InputError
from studies.sinks import Record, open_sink
from studies.sinks.histogram import histogram
from studies.sinks.local import FILE_NAME, LocalStore
from tests.gate.state import global_state

RECORDS = [Record(step, {"loss": 0.1 * step, "kernel/rank": 2.0 + step},
                  {"kernel/eigenvalues": np.linspace(0.1, 3.0 + step, 9)}) for step in (0, 5, 10)]
LATER = Record(15, {"loss": 7.0}, {"kernel/eigenvalues": np.full(4, 0.25)})


def _written(name: str, folder: Path) -> None:
    """As by a run that was killed after its last record, and goes on from step 10."""
    sink = open_sink(name, folder, "run", RECORDS[:2])
    sink.write(Record(10, {"loss": -1.0}))
    sink.close()
    sink = open_sink(name, folder, "run", RECORDS[:2])
    for record in (RECORDS[2], LATER):
        sink.write(record)
    sink.close()


# --- the local store ---


def test_the_local_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    record = Record(3, {"nan": math.nan, "inf": -math.inf, "x": 1 / 3}, {"s": np.arange(3.0)},
                    {"k": np.ones((2, 2), np.float32)}, {"kernel": "not finite"})
    store.write(record)
    (found,) = LocalStore(tmp_path).records()
    np.testing.assert_equal(dict(found.scalars), dict(record.scalars))
    np.testing.assert_array_equal(found.spectra["s"], record.spectra["s"])
    np.testing.assert_array_equal(found.arrays["k"], record.arrays["k"])
    assert (found.step, found.notes, found.arrays["k"].dtype) == (3, record.notes, np.float32)
    np.testing.assert_equal(store.scalars("nan"), (np.array([3]), np.array([math.nan])))
    assert store.names() == ["inf", "k", "nan", "s", "x"]


def test_steps_after_one_are_forgotten(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for record in RECORDS:
        store.write(record)
    store.forget_after(5)
    assert store.steps() == [0, 5]
    np.testing.assert_array_equal(store.scalars("loss")[1], [0.0, 0.5])
    store.write(RECORDS[2])
    with pytest.raises(sqlite3.IntegrityError):
        store.write(RECORDS[2])
    assert store.steps() == [0, 5, 10]


def test_facts_about_a_run(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.note_about({"probe": "abc", "n": 3})
    store.note_about({"n": 4})
    assert LocalStore(tmp_path).about() == {"probe": "abc", "n": 4}


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("my thesis, which is long enough to be no empty database")
    with pytest.raises(InputError, match="is no store"):
        LocalStore(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("CREATE TABLE steps (step INTEGER)")
    connection.close()
    with pytest.raises(InputError, match="of something else"):
        LocalStore(tmp_path)


def test_a_name_that_was_not_recorded(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(RECORDS[0])
    with pytest.raises(InputError, match="holds no los; it holds kernel/eigenvalues, kernel/rank, loss"):
        store.scalars("los")
    with pytest.raises(InputError, match="holds no kernel/eigenvalues at step 5"):
        store.array("kernel/eigenvalues", 5)


# --- the others ---


def test_csv(tmp_path: Path) -> None:
    _written("csv", tmp_path)
    with (tmp_path / "csv" / "scalars.csv").open(newline="") as file:
        rows = [(int(row["step"]), row["name"], float(row["value"])) for row in csv.DictReader(file)]
    assert rows == [(r.step, name, value) for r in (*RECORDS, LATER) for name, value in r.scalars.items()]
    with (tmp_path / "csv" / "spectra.csv").open(newline="") as file:
        values = [float(row["value"]) for row in csv.DictReader(file) if row["step"] == "10"]
    np.testing.assert_array_equal(values, RECORDS[2].spectra["kernel/eigenvalues"])


def test_tensorboard(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator",
                                       reason="TensorBoard comes with the extra 'sinks'")
    _written("tensorboard", tmp_path)
    reader = accumulators.EventAccumulator(str(tmp_path / "tensorboard" / "run"), size_guidance={"histograms": 0})
    reader.Reload()
    found = [(event.step, event.value) for event in reader.Scalars("loss")]
    assert found == [(r.step, float(np.float32(r.scalars["loss"]))) for r in (*RECORDS, LATER)]
    for event, record in zip(reader.Histograms("kernel/eigenvalues"), (*RECORDS, LATER), strict=True):
        values, shown = record.spectra["kernel/eigenvalues"], event.histogram_value
        assert (event.step, shown.num, sum(shown.bucket)) == (record.step, len(values), len(values))
        assert (shown.min, shown.max) == (values.min(), values.max())
        assert list(shown.bucket) == histogram(values)[0].tolist()


def test_wandb_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases comes with the extra 'sinks'")
    _written("wandb", tmp_path)
    (path,) = (tmp_path / "wandb").glob("wandb/offline-run-*/*.wandb")
    rows = _wandb_rows(path)
    assert [(row["_step"], row["loss"]) for row in rows] == [(r.step, r.scalars["loss"]) for r in (*RECORDS, LATER)]
    for row, record in zip(rows, (*RECORDS, LATER), strict=True):
        shown, counted = row["kernel/eigenvalues"], histogram(record.spectra["kernel/eigenvalues"])
        assert shown["_type"] == "histogram"
        np.testing.assert_array_equal(shown["values"], counted[0])
        np.testing.assert_array_equal(shown["bins"], counted[1])


def _wandb_rows(path: Path) -> list[dict[str, Any]]:
    """Once the process that writes them has come to the end."""
    for _ in range(200):
        kinds, rows = zip(*_wandb_messages(path), strict=True) if path.stat().st_size > 7 else ((), ())
        if "exit" in kinds:
            return [row for row in rows if row]
        time.sleep(0.05)
    raise TimeoutError(f"{path} has no end after 10 s")


def _wandb_messages(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The kind of each, and the row of the history, by the package's own messages, from the blocks of LevelDB's log
    format in which it has them: the reader of its own is a program that uploads."""
    from wandb.proto.wandb_internal_pb2 import Record as Message  # pyright: ignore[reportAttributeAccessIssue]

    content, place, whole = path.read_bytes(), 7, b""  # after the package's own header
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        size, kind = int.from_bytes(content[place + 4:place + 6], "little"), content[place + 6]
        whole += content[place + 7:place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            message = Message()
            message.ParseFromString(whole)
            whole = b""
            yield message.WhichOneof("record_type"), _nested(message.history.item)


def _nested(items: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        *path, last = item.nested_key or [item.key]
        place = found
        for key in path:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return found


def test_an_unknown_sink_and_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no sink 'tensorbord'; did you mean tensorboard\?"):
        open_sink("tensorbord", tmp_path, "run")
    for module in ("studies.sinks.wandb_offline", "wandb"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"'wandb' needs the package wandb: pip install .*\[sinks\]"):
        open_sink("wandb", tmp_path, "run")


@pytest.mark.parametrize("name", ["csv", "tensorboard"])
def test_a_sink_leaves_the_process_as_it_was(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard comes with the extra 'sinks'")
    _written(name, tmp_path)  # what its imports change stays
    before = global_state()
    _written(name, tmp_path)
    assert global_state() == before


@pytest.mark.parametrize("values", [np.zeros(3), np.array([1.0, np.nan, 3.0]), np.array([1e-300, 1e300]),
                                    np.array([5.0, np.nextafter(5.0, 6)]), np.array([-2.0, 7.0])])
def test_every_finite_number_is_in_a_histogram(values: np.ndarray) -> None:
    counts, edges = histogram(values)
    finite = values[np.isfinite(values)]
    assert counts.sum() == len(finite)
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= finite.min() <= finite.max() <= edges[-1]


def test_no_finite_number_makes_an_empty_histogram() -> None:
    assert [len(part) for part in histogram(np.array([np.nan]))] == [0, 0]
