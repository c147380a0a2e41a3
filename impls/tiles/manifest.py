"""Which tiles are done: lists that only grow, one for each process that writes, each line flushed to the disk.

A line says which tile, how much of it, and the checksum of its chunk, and ends with a checksum of itself: a line that
was torn, by a kill or by the end of a disk, counts as not written. No process writes to the list of another, so that
nothing has to be locked, on whichever file system.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from impls.tiles.files import sync_folder
from impls.tiles.plan import Tile


class Entry(NamedTuple):
    """A tile that is done: how many of its rows and columns, and the checksum of its chunk."""

    tile: Tile
    shape: tuple[int, int]
    checksum: str


class Manifest:
    """The lists in a folder; this process appends to one of its own, begun with the first entry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own: int | None = None
        self._lock = Lock()

    def append(self, entry: Entry) -> None:
        """On return it is on the disk."""
        with self._lock:
            if self._own is None:
                self.folder.mkdir(exist_ok=True)
                path = self.folder / f"{os.getpid()}-{secrets.token_hex(4)}.txt"
                self._own = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
                sync_folder(self.folder)
            os.write(self._own, _line(entry))
            os.fsync(self._own)

    def entries(self) -> Iterator[Entry]:
        """Of all processes; of one tile perhaps several, where two computed it or examples were added."""
        for path in sorted(self.folder.glob("*.txt")):
            for line in path.read_bytes().split(b"\n"):
                entry = _entry(line)
                if entry is not None:
                    yield entry

    def close(self) -> None:
        if self._own is not None:
            os.close(self._own)
            self._own = None


def _digest(said: bytes) -> str:
    return hashlib.blake2b(said, digest_size=4).hexdigest()


def _line(entry: Entry) -> bytes:
    said = f"{entry.tile.row} {entry.tile.column} {entry.shape[0]} {entry.shape[1]} {entry.checksum}"
    return f"{said} {_digest(said.encode())}\n".encode()


def _entry(line: bytes) -> Entry | None:
    said, _, mark = line.rpartition(b" ")
    if not said or _digest(said).encode() != mark:
        return None
    row, column, rows, columns, found = said.decode().split(" ")
    return Entry(Tile(int(row), int(column)), (int(rows), int(columns)), found)
