"""The local store: one SQLite file, a transaction for each record."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from reference import InputError
from studies.sinks.record import Record

FILE_NAME = "track.sqlite"
_APPLICATION_ID = 0x6E746B74  # "ntkt": tells the file from other SQLite files
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS steps (step INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS scalars (step INTEGER NOT NULL, name TEXT NOT NULL, value REAL, PRIMARY KEY (step, name));
CREATE TABLE IF NOT EXISTS arrays (
    step INTEGER NOT NULL, name TEXT NOT NULL, is_spectrum INTEGER NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (step, name)
);
CREATE TABLE IF NOT EXISTS notes (
    step INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (step, name)
);
"""
_TABLES = ("steps", "scalars", "arrays", "notes")


class LocalStore:
    """A store in `folder`, made where it is missing: a sink, and what was written as NumPy arrays.

    ``store.scalars("kernel/effective_rank")`` gives steps and values. Raises `InputError` for a file of something else.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / FILE_NAME
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path.parent} is no folder, and cannot be made one ({error.strerror or error}); "
                             "choose another") from error
        try:
            with self._open() as connection:
                found = connection.execute("PRAGMA application_id").fetchone()[0]
                if found not in (0, _APPLICATION_ID) or (not found and _has_tables(connection)):
                    raise InputError(f"{self.path} is an SQLite file of something else; choose another folder")
                connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path} is no store of tracked figures ({error}); choose another folder") from error

    def write(self, record: Record) -> None:
        """All of the record or, where the process is killed meanwhile, nothing of it."""
        named = [(name, array, kind) for kind, arrays in enumerate((record.arrays, record.spectra))
                 for name, array in arrays.items()]
        with self._open() as connection, connection:
            connection.execute("INSERT INTO steps VALUES (?)", (record.step,))
            connection.executemany("INSERT INTO scalars VALUES (?, ?, ?)", [
                (record.step, name, None if math.isnan(value) else float(value))  # SQLite has no NaN but NULL
                for name, value in record.scalars.items()])
            connection.executemany("INSERT INTO arrays VALUES (?, ?, ?, ?, ?, ?)", [
                (record.step, name, kind, *_as_row(array)) for name, array, kind in named])
            connection.executemany("INSERT INTO notes VALUES (?, ?, ?)", [
                (record.step, *note) for note in record.notes.items()])

    def close(self) -> None:
        """Nothing is kept open."""

    def steps(self) -> list[int]:
        return [step for step, in self._all("SELECT step FROM steps ORDER BY step")]

    def names(self) -> list[str]:
        """Of all scalars and arrays."""
        return [name for name, in self._all("SELECT name FROM scalars UNION SELECT name FROM arrays ORDER BY name")]

    def scalars(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The steps at which it was recorded, int64, and its values, float64."""
        rows = self._all("SELECT step, value FROM scalars WHERE name = ? ORDER BY step", name)
        self._found(rows, name)
        return (np.array([step for step, _ in rows]),
                np.array([math.nan if value is None else value for _, value in rows], np.float64))

    def array(self, name: str, step: int) -> np.ndarray:
        """A spectrum, or another array, as it was recorded at that step."""
        rows = self._all("SELECT dtype, shape, data FROM arrays WHERE name = ? AND step = ?", name, step)
        self._found(rows, f"{name} at step {step}")
        return _from_row(*rows[0])

    def records(self) -> Iterator[Record]:
        """All of them, in the order of their steps, and what is in them in the order in which it was given."""
        for step in self.steps():
            arrays: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = {}, {}
            for name, kind, *row in self._all("SELECT name, is_spectrum, dtype, shape, data FROM arrays "
                                              "WHERE step = ? ORDER BY rowid", step):
                arrays[kind][name] = _from_row(*row)
            scalars = {name: math.nan if value is None else value for name, value in self._all(
                "SELECT name, value FROM scalars WHERE step = ? ORDER BY rowid", step)}
            notes = dict(self._all("SELECT name, text FROM notes WHERE step = ? ORDER BY rowid", step))
            yield Record(step, scalars, arrays[1], arrays[0], notes)

    def forget_after(self, step: int) -> None:
        """Drop the records of later steps, which a run that goes on from `step` makes again."""
        with self._open() as connection, connection:
            for table in _TABLES:
                connection.execute(f"DELETE FROM {table} WHERE step > ?", (step,))

    def about(self) -> dict[str, Any]:
        """What was noted of the run as a whole."""
        return {key: json.loads(value) for key, value in self._all("SELECT key, value FROM about")}

    def note_about(self, facts: Mapping[str, Any]) -> None:
        with self._open() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)",
                                   [(key, json.dumps(value)) for key, value in facts.items()])

    def _open(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path))

    def _all(self, query: str, *values: Any) -> list[Any]:
        with self._open() as connection:
            return connection.execute(query, values).fetchall()

    def _found(self, rows: list[Any], what: str) -> None:
        if not rows:
            raise InputError(f"{self.path.name} holds no {what}; it holds {', '.join(self.names()) or 'nothing yet'}")


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _as_row(array: np.ndarray) -> tuple[str, str, bytes]:
    array = np.asarray(array)
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return little.dtype.str, json.dumps(array.shape), little.tobytes()


def _from_row(dtype: str, shape: str, data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(json.loads(shape)).copy()
