"""Examples that arrive in batches, of a list or a data loader say, read anew whenever they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from reference import InputError

Array = TypeVar("Array")


class Reread(Generic[Array]):
    """The batches' arrays as a framework has them, any number of times; one batch is read at a time.

    `batches` yields arrays or pairs whose first is the array, the same ones each time that it is iterated over; what
    changes, as a loader that shuffles, raises `InputError`. `kind`: what an array is called; `taken`: the array that a
    batch holds, or None; `numbers`: those of an array, in NumPy; `placed`: it in the dtype and on the device that it is
    needed in; `joined`: several laid end to end.
    """

    def __init__(self, batches: Iterable[Any], kind: str, taken: Callable[[Any], Any],
                 numbers: Callable[[Any], np.ndarray], placed: Callable[[Any], Array],
                 joined: Callable[[list[Array]], Array]) -> None:
        if isinstance(batches, Iterator):
            raise InputError("batches that can be iterated over only once (a generator?) are not enough, for they are "
                             "read several times; give a list or a data loader")
        self.batches, self.kind, self.taken, self.numbers = batches, kind, taken, numbers
        self.placed, self.joined = placed, joined
        self.known = [self._mark(x) for x in self._read()]
        shapes = {shape[1:] for shape, _ in self.known}
        if not len(self):
            raise InputError("the batches hold no example")
        if len(shapes) > 1:
            raise InputError(f"the batches must hold examples of one shape, got {sorted(shapes)}")

    def __len__(self) -> int:
        """Of examples."""
        return sum(shape[0] for shape, _ in self.known)

    def __iter__(self) -> Iterator[Array]:
        read = 0
        for x in self._read():
            if read >= len(self.known) or self.known[read] != self._mark(x):
                raise InputError("the batches are not the same each time that they are read; does the loader shuffle?")
            read += 1
            if len(x):
                yield self.placed(x)
        if read < len(self.known):
            raise InputError(f"{len(self.known)} batches were read at first, and then only {read}")

    def first(self) -> Array:
        """The first example, as a batch of one."""
        batch: Any = next(iter(self))
        return batch[:1]

    def pieces(self, size: int) -> Iterator[Array]:
        """`size` examples at a time, whatever the batches are; the last ones may be fewer."""
        held: list[Any] = []
        batches: Iterator[Any] = iter(self)
        for batch in batches:
            while sum(map(len, held)) + len(batch) >= size:
                some = size - sum(map(len, held))
                yield self.joined([*held, batch[:some]])
                held, batch = [], batch[some:]
            held += [batch] if len(batch) else []
        if held:
            yield self.joined(held)

    def _mark(self, x: Any) -> tuple[tuple[int, ...], bytes]:
        numbers = self.numbers(x)
        return numbers.shape, hashlib.blake2b(numbers.tobytes(), digest_size=16).digest()

    def _read(self) -> Iterator[Any]:
        for batch in self.batches:
            x = batch[0] if isinstance(batch, tuple | list) else batch
            array = self.taken(x)
            if array is None:
                raise InputError(f"a batch must be {self.kind} or a pair (x, y) whose first is one, "
                                 f"got {type(x).__name__}")
            yield array
