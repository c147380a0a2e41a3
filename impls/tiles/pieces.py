"""Examples that are never in memory together: arrays on disk in bands of one tile, and batches by their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from impls.frameworks.arrays import is_jax, is_torch


class Bands:
    """An array of which a part can be asked for, in bands of some examples; a band is in memory when it is read."""

    def __init__(self, x: Any, size: int) -> None:
        self.x, self.size = x, size

    def __len__(self) -> int:
        return -(-self.x.shape[0] // self.size)

    def __getitem__(self, number: int) -> np.ndarray:
        return np.asarray(self.x[number * self.size:(number + 1) * self.size])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))


class Loaded:
    """The batches of a PyTorch DataLoader by their number; the workers that it has read what is read from end to end.

    A batch is what the loader's own sampler, data set and collating function make of it, as often as it is asked for.
    """

    def __init__(self, loader: Any) -> None:
        self.loader, self.numbers = loader, [list(each) for each in loader.batch_sampler]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int) -> Any:
        of, numbers = self.loader.dataset, self.numbers[number]
        several = getattr(of, "__getitems__", None)
        return self.loader.collate_fn([of[i] for i in numbers] if several is None else several(numbers))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)


def in_bands(x: Any, size: int) -> Any:
    """An array of numbers, of NumPy or on disk, in bands; all else as it is."""
    return Bands(x, size) if is_plain(x) else x


def is_plain(x: Any) -> bool:
    """Whether it is an array of numbers of NumPy, or one that gives such arrays of the examples asked for: zarr's,
    h5py's."""
    if is_torch(x) or is_jax(x) or isinstance(x, np.ma.MaskedArray):
        return False
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    return bool(getattr(x, "shape", ())) and kind != "" and kind in "fiu" and hasattr(x, "__getitem__")


def by_number(x: Any) -> Any:
    """A DataLoader of a data set whose items have numbers as `Loaded`; all else as it is."""
    if getattr(x, "batch_sampler", None) is None or not hasattr(getattr(x, "dataset", None), "__getitem__"):
        return x
    return Loaded(x)
