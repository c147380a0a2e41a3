"""The record of a sweep: SQLite for the numbers, a file for each kernel.

Whatever ends a process, a row that is there is whole, and so are the files that it speaks of: they are written before
it, and put in place at once.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reference import InputError

Status = Literal["ok", "wrong", "failed"]

_TABLE = """CREATE TABLE IF NOT EXISTS points (
    key TEXT PRIMARY KEY, point TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, numbers TEXT NOT NULL,
    seconds REAL NOT NULL)"""


@dataclass(frozen=True)
class Result:
    """What became of a point. `row` is `Point.row()`; `reason` says what is the matter where the status is not ok."""

    key: str
    row: dict[str, Any]
    status: Status
    reason: str
    numbers: dict[str, float]
    seconds: float


class Store:
    """FOLDER/sweep.sqlite, FOLDER/kernels/KEY.npz and FOLDER/figures/KEY.png. Several processes may write at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for place in (folder / "kernels", folder / "figures"):
            place.mkdir(parents=True, exist_ok=True)
        try:
            with self._connection() as connection:
                connection.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{folder / 'sweep.sqlite'} is no record of a sweep ({error}); choose another folder with "
                             "--out") from error

    def results(self, keys: Sequence[str]) -> dict[str, Result]:
        """Those of the keys that have a row."""
        with self._connection() as connection:
            found = connection.execute("SELECT key, point, status, reason, numbers, seconds FROM points").fetchall()
        wanted = set(keys)
        return {row[0]: Result(row[0], json.loads(row[1]), row[2], row[3], json.loads(row[4]), row[5])
                for row in found if row[0] in wanted}

    def count(self, keys: Sequence[str]) -> int:
        """How many of the keys have a row."""
        with self._connection() as connection:
            there = {key for (key,) in connection.execute("SELECT key FROM points")}
        return len(there.intersection(keys))

    def forget(self, keys: Sequence[str]) -> None:
        """Remove their rows."""
        with self._connection() as connection:
            connection.executemany("DELETE FROM points WHERE key = ?", [(key,) for key in keys])

    def add(self, result: Result) -> None:
        """In place of the row that there may be."""
        values = (result.key, json.dumps(result.row), result.status, result.reason, json.dumps(result.numbers),
                  result.seconds)
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?)", values)

    def save_kernel(self, key: str, **arrays: np.ndarray) -> None:
        """No array may be one of objects, which `numpy.load` would have to unpickle."""
        self.put(self.kernel_path(key), lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))

    def load_kernel(self, key: str) -> dict[str, np.ndarray]:
        """`x` (N, d), `kernel` (N, N, O, O), `eigenvalues` (N·O,)."""
        with np.load(self.kernel_path(key), allow_pickle=False) as file:
            return dict(file)

    def kernel_path(self, key: str) -> Path:
        return self.folder / "kernels" / f"{key}.npz"

    def figure_path(self, key: str) -> Path:
        return self.folder / "figures" / f"{key}.png"

    def put(self, path: Path, write: Callable[[Path], Any]) -> None:
        """The file that `write` makes, whole or not at all."""
        part = path.with_name(f"{path.stem}.{os.getpid()}.part{path.suffix}")
        write(part)
        part.replace(path)

    def sweep_up(self) -> None:
        """Remove what processes that were killed have left behind."""
        for part in self.folder.rglob("*.part.*"):
            part.unlink(missing_ok=True)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.folder / "sweep.sqlite", timeout=60)) as connection, connection:
            yield connection
