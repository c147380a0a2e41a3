"""A kernel on disk: a zarr 3 array with one chunk a tile, what it is the kernel of, and which tiles are done.

The folder is the array; its subfolder `ntk` has ``identity.json`` and the lists of `manifest`. Chunks are the plain
numbers with their CRC-32C, as any zarr reader checks it. What is not computed reads as NaN there; where x2 = x1 that is
all below the diagonal's tiles too, which `lazy.LazyKernel` mirrors. That a chunk is there proves nothing: the manifest
counts, and its checksums are of numbers, not of files.
"""

from __future__ import annotations

import math
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from impls.tiles.identity import Identity
from impls.tiles.manifest import Entry, Manifest, checksum, sync_folder
from impls.tiles.plan import Plan, Region, Tile
from reference import InputError

Compute = Callable[[Region], np.ndarray]
"""The numbers of a rectangle of the kernel: (rows, columns, …)."""

NOTES, IDENTITY, LOCK, DONE = "ntk", "identity.json", "lock", "done"


class Store:
    """An open one; made by `create` or `open`."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path, self.identity = path, identity
        n2 = None if identity.x2 is None else identity.x2.examples
        self.plan = Plan(identity.x1.examples, n2, identity.tile)
        self.array = _zarr().open_array(store=str(path), mode="r+" if os.access(path, os.W_OK) else "r",
                                        zarr_format=3, config={"write_empty_chunks": True})
        self.manifest = Manifest(path / NOTES / DONE)
        self._known: dict[Tile, list[Entry]] | None = None
        self._damaged: set[Tile] = set()

    @classmethod
    def create(cls, path: str | Path, identity: Identity) -> Store:
        """A new one without tiles: it is there as a whole, or not at all."""
        path = Path(path)
        new = path.with_name(f"{path.name}.new")
        shutil.rmtree(new, ignore_errors=True)  # of one that was killed in the middle of this
        (new / NOTES / DONE).mkdir(parents=True)
        plan = Plan(identity.x1.examples, None if identity.x2 is None else identity.x2.examples, identity.tile)
        _create_array(new, identity, plan)
        _write(new / NOTES / IDENTITY, identity.to_json())
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
            identity = Identity.from_json(note.read_text())
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{note} is damaged ({error}); compute the kernel anew, under another name") from error
        store = cls(path, identity)
        store._check_array()
        return store

    def extend(self, identity: Identity) -> Store:
        """The same kernel with more examples, those of `identity`, whose tiles are missing then."""
        _write(self.path / NOTES / IDENTITY, identity.to_json())
        return Store.open(self.path)

    @property
    def entry_shape(self) -> tuple[int, ...]:
        """Of one pair of examples."""
        o = self.identity.n_outputs
        return {"full": (o, o), "diagonal": (o,), "trace": ()}[self.identity.outputs]

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
        values = np.empty((*region.shape, *self.entry_shape), self.array.dtype)
        values[:rows, :columns] = known
        (r, r_end), (c, c_end) = ((each.start, each.stop) for each in region)
        if c + columns < c_end:
            values[:, columns:] = compute(Region(region.rows, slice(c + columns, c_end)))
        if r + rows < r_end:
            below = Region(slice(r + rows, r_end), slice(c, c + columns))
            values[rows:, :columns] = (mirrored(values[:columns, rows:]) if self.plan.symmetric and r == c else
                                       compute(below))
        return values

    def write(self, tile: Tile, values: np.ndarray) -> None:
        """The tile, and then its line of the manifest, which is flushed to the disk; a tile that is lost with the
        power nevertheless is found by its checksum. Raises `InputError` for a full disk."""
        region = self.plan.region(tile)
        try:
            self.array[region.rows, region.columns] = values
            entry = Entry(tile, region.shape, checksum(values))
            self.manifest.append(entry)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror}); what is there stays, and the same "
                             "call goes on from it") from error
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
            values = np.asarray(self.array[region.rows, region.columns])
        except (ValueError, OSError):  # a chunk whose own checksum is wrong, or that ends too early
            return None
        for entry in sorted(entries, key=lambda each: -math.prod(each.shape)):
            rows, columns = entry.shape
            if checksum(values[:rows, :columns]) == entry.checksum:
                return values[:rows, :columns]
        return None

    def _check_array(self) -> None:
        """Plain numbers, as they were written, of the shape that the identity says, into which one that was stopped
        while growing is brought."""
        from zarr.codecs import BytesCodec, Crc32cCodec

        shape, chunks = (*self.plan.shape, *self.entry_shape), (*self.plan.tile, *self.entry_shape)
        codecs = [type(codec) for codec in self.array.metadata.codecs]
        found = self.array.dtype, self.array.chunks, codecs
        if found != (np.dtype(self.identity.dtype), chunks, [BytesCodec, Crc32cCodec]):
            raise InputError(f"{self.path} is no kernel of ours any more: its array has {self.array.dtype} in chunks "
                             f"of {self.array.chunks} ({', '.join(codec.__name__ for codec in codecs)}), and plain "
                             f"{self.identity.dtype} in {chunks} was written")
        if self.array.shape != shape:
            self.array.resize(shape)


def mirrored(block: np.ndarray) -> np.ndarray:
    """(M, N, …) from (N, M, …) of a kernel with x2 = x1."""
    return block.transpose((1, 0, 3, 2) if block.ndim == 4 else (1, 0, 2)[:block.ndim])


def _create_array(path: Path, identity: Identity, plan: Plan) -> None:
    from zarr.codecs import Crc32cCodec

    o = identity.n_outputs
    entry = {"full": (o, o), "diagonal": (o,), "trace": ()}[identity.outputs]
    _zarr().create_array(store=str(path), shape=(*plan.shape, *entry), chunks=(*plan.tile, *entry),
                         dtype=identity.dtype, fill_value=math.nan, filters=None, compressors=[Crc32cCodec()],
                         zarr_format=3, attributes={"kernel": f"NTK, {identity.outputs}", "x2 = x1": plan.symmetric,
                                                    "stored": "upper triangle" if plan.symmetric else "all"})


def _write(path: Path, text: str) -> None:
    """The whole of it or nothing."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(path.parent)


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise InputError('a kernel on disk needs zarr: pip install "ntk-bench[scale]"') from error
    return zarr
