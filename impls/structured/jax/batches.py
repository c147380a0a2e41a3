"""Examples that arrive in batches, of a list or a data loader say, read anew whenever they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from impls.frameworks.jax.support import place
from reference import InputError, Request


class Batches:
    """The batches as arrays in the request's dtype (integers as they are) and on its device, any number of times.

    `batches` yields arrays or pairs whose first is the array, the same ones each time that it is iterated over; what
    changes, as a loader that shuffles, raises `InputError`. One batch is read at a time.
    """

    def __init__(self, batches: Iterable[Any], request: Request) -> None:
        if isinstance(batches, Iterator):
            raise InputError("batches that can be iterated over only once (a generator?) are not enough, for they are "
                             "read several times; give a list or a data loader")
        self.batches, self.request = batches, request
        self.known = [(x.shape, _digest(x)) for x in self._read()]
        shapes = {shape[1:] for shape, _ in self.known}
        if not sum(shape[0] for shape, _ in self.known):
            raise InputError("the batches hold no example")
        if len(shapes) > 1:
            raise InputError(f"the batches must hold examples of one shape, got {sorted(shapes)}")

    def __iter__(self) -> Iterator[jax.Array]:
        read = 0
        for i, x in enumerate(self._read()):
            if i >= len(self.known) or self.known[i] != (x.shape, _digest(x)):
                raise InputError("the batches are not the same each time that they are read; are they shuffled?")
            read += 1
            if len(x):
                yield place(x, self.request)
        if read < len(self.known):
            raise InputError(f"{len(self.known)} batches were read at first, and then only {read}")

    def all(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of all examples together."""
        example = place(next(self._read())[:0], self.request)
        return jax.ShapeDtypeStruct((sum(shape[0] for shape, _ in self.known), *example.shape[1:]), example.dtype)

    def _read(self) -> Iterator[np.ndarray]:
        for batch in self.batches:
            x = batch[0] if isinstance(batch, tuple | list) else batch
            if not hasattr(x, "__array__"):
                raise InputError(f"a batch must be an array or a pair (x, y) of arrays, got {type(x).__name__}")
            yield np.asarray(x)


def _digest(x: np.ndarray) -> bytes:
    return hashlib.blake2b(x.tobytes(), digest_size=16).digest()
