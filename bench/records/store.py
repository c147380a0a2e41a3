"""The record of all runs: one SQLite file, a row per cell and replicate, written one by one."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench.machine.probe import Reading
from bench.records.record import CaseInfo, Cell, Environment, Record
from bench.records.text import storable

FILE_NAME = "results.sqlite"
SCHEMA_VERSION = 1
_APPLICATION_ID = 0x6E746B62  # "ntkb": tells the file from other SQLite files

_SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, started_at TEXT NOT NULL, environment TEXT NOT NULL, options TEXT NOT NULL
);
CREATE TABLE environments (
    key TEXT PRIMARY KEY, machine TEXT NOT NULL, accelerator TEXT NOT NULL, system TEXT NOT NULL,
    versions TEXT NOT NULL, facts TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    method TEXT NOT NULL, "case" TEXT NOT NULL, outputs TEXT NOT NULL, dtype TEXT NOT NULL, device TEXT NOT NULL,
    threads INTEGER NOT NULL, batch_size INTEGER, seed INTEGER NOT NULL, options TEXT NOT NULL,
    network TEXT NOT NULL, width INTEGER, n1 INTEGER NOT NULL, n2 INTEGER, n_outputs INTEGER, n_params INTEGER,
    data TEXT NOT NULL, digest TEXT NOT NULL,
    replicate INTEGER NOT NULL, status TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
    error REAL, tolerance REAL, amplification REAL, remark TEXT NOT NULL DEFAULT '', checked_against TEXT NOT NULL,
    setup_s REAL, first_call_s REAL, samples_s TEXT NOT NULL, peak_bytes INTEGER, kernel_bytes INTEGER,
    started_at TEXT NOT NULL, environment TEXT NOT NULL, method_digest TEXT NOT NULL, stderr TEXT NOT NULL,
    position INTEGER, disturbance REAL, switches INTEGER, machine REAL, instructions INTEGER,
    attempts INTEGER NOT NULL DEFAULT 1, noticed TEXT NOT NULL DEFAULT '', node TEXT NOT NULL DEFAULT ''
);
-- What makes two rows the same measurement; NULL is no value, so a missing block size is written as 0.
CREATE UNIQUE INDEX measurement ON records (
    method, "case", outputs, dtype, device, threads, coalesce(batch_size, 0), seed, options, digest, replicate,
    environment, method_digest
);
"""

# Of files of earlier versions as well: what the probe of the machine read, in seconds.
_READINGS = """
CREATE TABLE IF NOT EXISTS readings (
    id INTEGER PRIMARY KEY, environment TEXT NOT NULL, taken_at TEXT NOT NULL,
    product_s REAL NOT NULL, copy_s REAL NOT NULL, best_product_s REAL NOT NULL, best_copy_s REAL NOT NULL
)
"""

_CELL_FIELDS = [field.name for field in dataclasses.fields(Cell)]
_INFO_FIELDS = [field.name for field in dataclasses.fields(CaseInfo)]
_ENVIRONMENT_FIELDS = [field.name for field in dataclasses.fields(Environment)]
_RECORD_FIELDS = [field.name for field in dataclasses.fields(Record) if field.name not in ("cell", "info")]

_FROM_OUTSIDE = ("reason", "remark", "checked_against", "stderr", "noticed")

# Columns that a file of an earlier version lacks, and what stands in them there.
_TEXT, _EMPTY = "TEXT NOT NULL DEFAULT ''", "''"
_LATER: dict[str, dict[str, tuple[str, str]]] = {
    "records": {
        "amplification": ("REAL", "NULL"), "remark": (_TEXT, _EMPTY),
        "position": ("INTEGER", "NULL"), "disturbance": ("REAL", "NULL"), "switches": ("INTEGER", "NULL"),
        "machine": ("REAL", "NULL"), "instructions": ("INTEGER", "NULL"),
        "attempts": ("INTEGER NOT NULL DEFAULT 1", "1"), "noticed": (_TEXT, _EMPTY), "node": (_TEXT, _EMPTY),
    },
    "environments": {"facts": ("TEXT NOT NULL DEFAULT '{}'", "'{}'")},
}


class StoreError(Exception):
    """Results that cannot be read or written; the message says what to do."""


class Store:
    """A results file. `path` is the file, or the folder that holds it; it must exist (else see `create`).

    Raises `StoreError` where there is none, where it is something else, or where another version of ntk-bench wrote it.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        self.path = path / FILE_NAME if path.is_dir() else path
        if not self.path.is_file():
            raise StoreError(f"there are no results at {self.path}; write some with: python -m bench run --out {path}")
        self._check_version()

    @classmethod
    def create(cls, folder: Path | str) -> Store:
        """The store in that folder, ready to be written to; folder and file are made where they are missing."""
        folder = Path(folder)
        path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.stat().st_size == 0:
                _write_schema(path)
        except (OSError, sqlite3.Error) as error:
            raise _unwritable(folder, error) from error
        store = cls(path)
        store._check_writable(folder)
        return store

    def add_run(self, environment: Environment, options: Mapping[str, Any], started_at: str) -> None:
        """Note that a run began: where, when, and what was asked for."""
        self.add_environment(environment)
        with self._step() as connection:
            connection.execute("INSERT INTO runs (started_at, environment, options) VALUES (?, ?, ?)",
                               (started_at, environment.key, _to_json(options)))

    def add_environment(self, environment: Environment) -> None:
        """Note where rows are measured."""
        with self._step() as connection:
            known = connection.execute("SELECT facts FROM environments WHERE key = ?", (environment.key,)).fetchone()
            facts = (json.loads(known[0]) if known else {}) | environment.facts  # another run had other frameworks
            connection.execute("INSERT OR REPLACE INTO environments (key, machine, accelerator, system, versions, "
                               "facts) VALUES (?, ?, ?, ?, ?, ?)",
                               (environment.key, environment.machine, environment.accelerator, environment.system,
                                _to_json(environment.versions), _to_json(facts)))

    def add(self, record: Record) -> Record:
        """Write one row for good; it replaces an earlier one of the same measurement. The row as it is read again:
        texts that a method may have written are cut and escaped here, and nowhere else."""
        record = dataclasses.replace(record, **{name: storable(getattr(record, name)) for name in _FROM_OUTSIDE})
        row = _to_row(record)
        columns, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        with self._step() as connection:
            connection.execute(f"INSERT OR REPLACE INTO records ({columns}) VALUES ({marks})", list(row.values()))
        return record

    def add_reading(self, environment: str, taken_at: str, reading: Reading) -> None:
        """Write what the probe of the machine read."""
        with self._step() as connection:
            connection.execute("INSERT INTO readings (environment, taken_at, product_s, copy_s, best_product_s, "
                               "best_copy_s) VALUES (?, ?, ?, ?, ?, ?)",
                               (environment, taken_at, *dataclasses.astuple(reading)))

    def best_reading(self, environment: str) -> Reading | None:
        """The quickest pieces of all readings in that environment; None where there is none yet."""
        with self._step() as connection:
            best = connection.execute("SELECT min(product_s), min(copy_s), min(best_product_s), min(best_copy_s) "
                                      "FROM readings WHERE environment = ?", (environment,)).fetchone()
        return None if best[0] is None else Reading(*best)

    def records(self) -> list[Record]:
        """All rows, in the order in which they were written."""
        columns = [*_CELL_FIELDS, *(name for name in _INFO_FIELDS if name != "case"), *_RECORD_FIELDS]
        with self._step() as connection:
            rows = connection.execute(f"SELECT {_selected(connection, 'records', columns)} FROM records "
                                      "ORDER BY id").fetchall()
        return [_to_record(dict(zip(columns, row, strict=True))) for row in rows]

    def environments(self) -> dict[str, Environment]:
        """Key → where rows were measured."""
        with self._step() as connection:
            columns = _selected(connection, "environments", _ENVIRONMENT_FIELDS)
            rows = connection.execute(f"SELECT {columns} FROM environments").fetchall()
        return {row[0]: Environment(*row[:4], versions=json.loads(row[4]), facts=json.loads(row[5])) for row in rows}

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Connection]:
        """A transaction whose failure, on a full disk or in a damaged file, is a `StoreError`."""
        try:
            with self._transaction() as connection:
                yield connection
        except sqlite3.Error as error:
            remedy = _remedy(error, "Make room on the disk, or, where the file is damaged, give another --out")
            raise StoreError(f"{self.path} cannot be read or written ({error}); the rows that were finished stay. "
                             f"{remedy}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection for one step: committed at its end, rolled back where it fails, closed either way."""
        with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            yield connection

    def _check_version(self) -> None:
        try:
            with self._transaction() as connection:
                (application,) = connection.execute("PRAGMA application_id").fetchone()
                (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            remedy = _remedy(error, "Move it away, or give another --out")
            raise StoreError(f"{self.path} cannot be read ({error}). {remedy}") from error
        if application != _APPLICATION_ID:
            raise StoreError(f"{self.path} is no results file of ntk-bench; give another --out")
        if version != SCHEMA_VERSION:
            raise StoreError(f"{self.path} was written by another version of ntk-bench (format {version}, this one has "
                             f"{SCHEMA_VERSION}); give another --out, or read it with that version")

    def _check_writable(self, folder: Path) -> None:
        try:
            if not os.access(folder, os.W_OK):
                raise PermissionError(f"no permission to write to {folder}")
            with self._transaction() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_READINGS)
                for table, later in _LATER.items():
                    for name in _lacking(connection, table):
                        connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {later[name][0]}")
        except (OSError, sqlite3.Error) as error:
            raise _unwritable(folder, error) from error


def latest(records: Iterable[Record], environment: str | None = None) -> list[Record]:
    """The rows that belong together: of one environment, and each case in its newest contents. That is the newest
    row's, or, where a cluster measured it, those of the newest row of each node.

    An edited model, other inputs under the same name or an edited method would otherwise stand beside the old ones.
    """
    records = list(records)
    of_nodes = {record.node: record.environment for record in records if record.node} if records else {}
    if environment is not None:
        environments = {environment}
    elif records and records[-1].node:
        environments = set(of_nodes.values())
    else:
        environments = {record.environment for record in records[-1:]}
    rows = [record for record in records if record.environment in environments]
    digests = {record.cell.case: record.info.digest for record in rows}
    newest = {(record.environment, _identity(record)): record for record in rows
              if record.info.digest == digests[record.cell.case]}
    return list(newest.values())


def _identity(record: Record) -> tuple[str, int]:
    return _to_json(dataclasses.asdict(record.cell)), record.replicate


def _lacking(connection: sqlite3.Connection, table: str) -> list[str]:
    there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    return [name for name in _LATER[table] if name not in there]


def _selected(connection: sqlite3.Connection, table: str, columns: Iterable[str]) -> str:
    """The columns, each as it stands there, or what stands for it in a file that lacks it."""
    lacking = _lacking(connection, table)
    return ", ".join(_LATER[table][name][1] if name in lacking else f'"{name}"' for name in columns)


def _write_schema(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID};"
                                 f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")  # all of it, or an empty file


def _remedy(error: sqlite3.Error, otherwise: str) -> str:
    """What to do about it."""
    busy = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return "Another program is at work in it: close that, and give the same command again" if busy else otherwise


def _unwritable(folder: Path, error: Exception) -> StoreError:
    return StoreError(f"cannot write results to {folder} ({error}); give another --out")


def _to_row(record: Record) -> dict[str, Any]:
    row = dataclasses.asdict(record)
    row = row.pop("cell") | row.pop("info") | row
    return row | {"options": _to_json(row["options"]), "samples_s": _to_json(row["samples_s"])}


def _to_record(row: dict[str, Any]) -> Record:
    row |= {"options": json.loads(row["options"]), "samples_s": tuple(json.loads(row["samples_s"]))}
    cell, info = ({name: row[name] for name in names} for names in (_CELL_FIELDS, _INFO_FIELDS))
    return Record(Cell(**cell), CaseInfo(**info), **{name: row[name] for name in _RECORD_FIELDS})


def _to_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
