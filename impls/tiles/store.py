"""A kernel on disk: a zarr 3 array with one chunk a tile, what it is the kernel of, and which tiles are done.

The folder is the array; its subfolder `ntk` has ``identity.json`` and the lists of `manifest`. Chunks are the plain
numbers with their CRC-32C, as any zarr reader checks it, in the order of axes in which the engine leaves them
(`layout`), which zarr's transposition undoes. What is not computed reads as NaN there; where x2 = x1 that is all below
the diagonal's tiles too, which `lazy.LazyKernel` mirrors. That a chunk is there proves nothing: the manifest counts,
which has the CRC-32C of each tile's chunk. Its numbers are held against it when they are read, so that none is summed
twice.
"""

from __future__ import annotations

import math
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from impls.tiles import chunks
from impls.tiles.compute import Layout
from impls.tiles.files import alone_in, sync_folder, write, written
from impls.tiles.identity import Identity
from impls.tiles.manifest import Entry, Manifest
from impls.tiles.plan import Region, Tile
from reference import InputError

Compute = Callable[[Region], np.ndarray]
"""The numbers of a rectangle of the kernel: (rows, columns, …)."""

NOTES, IDENTITY, LOCK, DONE = "ntk", "identity.json", "lock", "done"

GOES_ON = "what is there stays, and the same call goes on from it"


class Store:
    """An open one; made by `create` or `open`."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path, self.identity = path, identity
        self.plan, self.entry_shape = chunks.plan_of(identity), chunks.entry_shape(identity)
        self.array = chunks.opened(path)
        self.layout = chunks.layout(self.array)
        self.manifest = Manifest(path / NOTES / DONE)
        self._known: dict[Tile, list[Entry]] | None = None
        self._damaged: set[Tile] = set()

    @classmethod
    def create(cls, path: str | Path, identity: Identity, layout: Layout) -> Store:
        """A new one without tiles: it is there as a whole, or not at all. `layout`: the order in which the axes lie in
        the chunks. Raises `InputError` where nothing can be written, or another process was quicker."""
        path = Path(path)
        new = path.with_name(f"{path.name}.new")
        with written(path, "make room there, or give another place"):
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
            with alone_in(path.absolute().parent):
                if path.exists():
                    raise InputError(f"{path} was begun by another process meanwhile; the same call goes on from it")
                shutil.rmtree(new, ignore_errors=True)  # of one that was killed in the middle of this
                (new / NOTES / DONE).mkdir(parents=True)
                chunks.create(new, identity, layout)
                write(new / NOTES / IDENTITY, identity.to_json())
                os.rename(new, path)
                sync_folder(path.absolute().parent)
        return cls(path, identity)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Raises `InputError` where there is none, or something else."""
        path = Path(path)
        note = path / NOTES / IDENTITY
        if not path.exists():
            raise InputError(f"there is no kernel at {str(path)!r}")
        if not note.is_file() or not (path / "zarr.json").is_file():
            raise InputError(f"{str(path)!r} is there and holds no kernel of ours; give another name")
        try:
            store = cls(path, Identity.from_json(note.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{note} or {path / 'zarr.json'} is damaged ({error}); compute the kernel anew, under "
                             "another name") from error
        chunks.check(path, store.array, store.identity)
        return store

    def extend(self, identity: Identity) -> Store:
        """The same kernel with more examples, those of `identity`, whose tiles are missing then."""
        with written(self.path, GOES_ON):
            write(self.path / NOTES / IDENTITY, identity.to_json())
            return Store.open(self.path)

    def done(self, tile: Tile) -> tuple[int, int]:
        """How many rows and columns of a tile are done, as the manifest says; (0, 0) where it does not."""
        if tile in self._damaged:
            return 0, 0
        return max((entry.shape for entry in self._entries().get(tile, ())), key=math.prod, default=(0, 0))

    def missing(self) -> tuple[Tile, ...]:
        """The tiles that are not done, or not to their end, in the order of `Plan.tiles`."""
        return tuple(tile for tile in self.plan.tiles if self.done(tile) != self.plan.region(tile).shape)

    def refresh(self) -> None:
        """Read anew what other processes have done."""
        self._known = None

    def fill(self, tile: Tile, compute: Compute) -> bool:
        """Compute a tile, or what of it is not done, write it, and say so; False where it is done, and intact.

        It may be called in any process, any number of times.
        """
        values = self.computed(tile, compute)
        if values is not None:
            self.write(tile, values)
        return values is not None

    def computed(self, tile: Tile, compute: Compute) -> np.ndarray | None:
        """The tile's numbers; those that are done are read. None where all of them are."""
        region, known = self.plan.region(tile), self._intact(tile)
        if known is None:
            return compute(region)
        rows, columns = known.shape[:2]
        if (rows, columns) == region.shape:
            return None
        values = chunks.laid_out((*region.shape, *self.entry_shape), self.array.dtype, self.layout)
        values[:rows, :columns] = known
        (r, r_end), (c, c_end) = ((each.start, each.stop) for each in region)
        if c + columns < c_end:
            values[:, columns:] = compute(Region(region.rows, slice(c + columns, c_end)))
        if r + rows < r_end:
            below = Region(slice(r + rows, r_end), slice(c, c + columns))
            values[rows:, :columns] = (chunks.mirrored(values[:columns, rows:]) if self.plan.symmetric and r == c else
                                       compute(below))
        return values

    def write(self, tile: Tile, values: np.ndarray) -> None:
        """The tile, and then its line of the manifest, which is flushed to the disk; a tile that is lost with the
        power nevertheless is found by its checksum. Raises `InputError` for a full disk."""
        region = self.plan.region(tile)
        with written(self.path, GOES_ON):
            self.array[region.rows, region.columns] = values
            entry = Entry(tile, region.shape, chunks.checksum(self.path, self.array, tile))
            self.manifest.append(entry)
        self._entries()[tile].append(entry)
        self._damaged.discard(tile)

    def read(self, tile: Tile) -> np.ndarray:
        """Of a tile that is done. Raises `InputError` where its numbers are not those that were written."""
        values = self._intact(tile)
        if values is None or values.shape[:2] != self.plan.region(tile).shape:
            raise InputError(f"{self.path} is damaged, or not complete, in the tile {tuple(tile)}; the call that made "
                             "it computes this tile anew")
        return values

    def check(self, tiles: Iterable[Tile] | None = None) -> list[Tile]:
        """Those of these tiles (all that are done) that hold other numbers than were written; they count as missing
        from now on."""
        done = [tile for tile in self.plan.tiles if self.done(tile) != (0, 0)] if tiles is None else tiles
        found = [tile for tile in done if (values := self._intact(tile)) is None or values.shape[:2] != self.done(tile)]
        self._damaged.update(found)
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time: raises `InputError` while another one computes tiles of it. Ends with the process."""
        import fcntl

        with written(self.path, "open_kernel reads what is there"):
            descriptor = os.open(self.path / NOTES / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InputError(f"{self.path} is being computed by another process; wait for it, or stop it") from None
        try:
            for left in self.path.glob("c/**/*.partial"):  # zarr's, of a process that was killed
                left.unlink(missing_ok=True)
            yield
        finally:
            self.manifest.close()
            os.close(descriptor)

    def _entries(self) -> dict[Tile, list[Entry]]:
        if self._known is None:
            self._known = defaultdict(list)
            for entry in self.manifest.entries():
                self._known[entry.tile].append(entry)
        return self._known

    def _intact(self, tile: Tile) -> np.ndarray | None:
        """What of a tile is done and is as it was written: its first rows and columns."""
        entries = self._entries().get(tile)
        if not entries:
            return None
        region = self.plan.region(tile)
        try:
            found = chunks.checksum(self.path, self.array, tile)
            known = [entry.shape for entry in entries if entry.checksum == found]
            if not known:
                return None
            values = np.asarray(self.array[region.rows, region.columns])
        except (ValueError, OSError):  # a chunk whose own checksum is wrong, that ends too early, or is not there
            return None
        rows, columns = max(known, key=math.prod)
        return values[:rows, :columns]
