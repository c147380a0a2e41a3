"""Reading a kernel on disk: an array of which only what is asked for is read, symmetric where x2 = x1."""

from __future__ import annotations

from typing import Any

import numpy as np

from impls.tiles.chunks import mirrored
from impls.tiles.plan import Plan, Tile
from impls.tiles.store import Store
from reference import InputError


class LazyKernel:
    """The kernel in a store: `shape`, `dtype`, `ndim`, ``K[rows, columns]`` and ``numpy.asarray(K)``.

    The first two indices are numbers, slices or arrays of numbers, each for itself as in ``numpy.ix_``; those of
    outputs follow. What is read, and nothing else, is in memory; `numpy.asarray` reads all of it, once. Raises
    `InputError` for tiles that are missing or damaged, `IndexError` for examples that are not there.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def plan(self) -> Plan:
        return self.store.plan

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.plan.shape, *self.store.entry_shape)

    @property
    def dtype(self) -> np.dtype:
        return self.store.array.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        kind = self.store.identity
        return f"<kernel at {str(self.store.path)!r}: {kind.outputs}, {self.shape}, {self.dtype}, by {kind.method}>"

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if any(each is Ellipsis or each is None for each in keys) or len(keys) > self.ndim:
            raise IndexError(f"K takes up to {self.ndim} indices, rows and columns first, got {key!r}")
        rows, columns, *rest = (*keys, *(slice(None) for _ in range(2 - len(keys))))
        wanted, numbers = [], []
        for each, n in zip((rows, columns), self.plan.shape, strict=True):
            found = np.arange(n)[each]
            wanted.append(np.atleast_1d(found))
            numbers.append(0 if np.ndim(found) == 0 else slice(None))
        return self._read(*wanted)[(*numbers, *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("the kernel is on disk: to have it in memory is to copy it")
        found = self[:, :]
        return found if dtype is None else found.astype(dtype, copy=False)

    def diagonal(self) -> np.ndarray:
        """K[n, n] of each example; only the tiles of the diagonal are read."""
        size, n = min(self.plan.tile), min(self.plan.shape)
        blocks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        return np.concatenate([np.moveaxis(self[rows, rows].diagonal(), -1, 0) for rows in blocks])

    def _read(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        size1, size2 = self.plan.tile
        found = np.empty((len(rows), len(columns), *self.store.entry_shape), self.dtype)
        of_row, of_column = _by_tile(rows, size1), _by_tile(columns, size2)
        for i, places in of_row.items():
            for j, others in of_column.items():
                if self.plan.symmetric and j < i and j in of_row and i in of_column and np.array_equal(rows, columns):
                    continue  # mirrored below, when the tile above the diagonal is read
                block = self._tile(i, j)
                within = np.ix_(rows[places] - i * size1, columns[others] - j * size2)
                found[np.ix_(places, others)] = block[within]
                if self.plan.symmetric and i < j and i in of_column and j in of_row and np.array_equal(rows, columns):
                    found[np.ix_(others, places)] = mirrored(block[within])
        return found

    def _tile(self, i: int, j: int) -> np.ndarray:
        if self.plan.symmetric and j < i:
            return mirrored(self.store.read(Tile(j, i)))
        return self.store.read(Tile(i, j))


def _by_tile(numbers: np.ndarray, size: int) -> dict[int, np.ndarray]:
    """Which places of `numbers` are in each tile."""
    return {int(tile): np.flatnonzero(numbers // size == tile) for tile in np.unique(numbers // size)}


__all__ = ["InputError", "LazyKernel"]
