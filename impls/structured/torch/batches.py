"""Examples that arrive in batches, of a `torch.utils.data.DataLoader` say, read anew whenever they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from reference import InputError


class Batches:
    """As one tensor of all examples, as far as the engine reads one: its length, slices of it, its first example.

    `batches` yields tensors or pairs whose first is the tensor, the same ones each time that it is iterated over; what
    changes, as under ``shuffle=True``, raises `InputError`. Only the batches of one slice are in memory at a time.
    Slices that follow each other are read in one go.
    """

    def __init__(self, batches: Iterable[Any], device: torch.device, dtype: torch.dtype) -> None:
        if isinstance(batches, Iterator):
            raise InputError("batches that can be iterated over only once (a generator?) are not enough, for they are "
                             "read several times; give a list, or a DataLoader")
        self.batches, self.device, self.dtype = batches, device, dtype
        self.known: list[tuple[int, bytes]] = []
        for batch in self._read():
            self.known.append((len(batch), _digest(batch)))
        if not sum(size for size, _ in self.known):
            raise InputError("the batches hold no example")
        self._rewind()

    def __len__(self) -> int:
        return sum(size for size, _ in self.known)

    def __getitem__(self, which: slice | int) -> Tensor:
        start, stop = (which, which + 1) if isinstance(which, int) else (which.start, which.stop)
        if start < self.position:
            self._rewind()
        parts: list[Tensor] = []
        while sum(map(len, parts)) < stop - start:
            batch = self.rest if len(self.rest) else self._next()
            skipped = min(start - self.position, len(batch)) if not parts else 0
            taken = batch[skipped : skipped + stop - start - sum(map(len, parts))]
            self.rest = batch[skipped + len(taken) :]
            self.position += skipped + len(taken)
            if len(taken):
                parts.append(taken)
        x = torch.cat(parts) if len(parts) > 1 else parts[0]
        x = x.to(self.device, self.dtype if x.is_floating_point() else None)
        return x[0] if isinstance(which, int) else x

    def _rewind(self) -> None:
        self.stream, self.number, self.position, self.rest = self._read(), 0, 0, torch.empty(0)

    def _next(self) -> Tensor:
        """The next batch, checked to be the one that was there before."""
        batch = next(self.stream, None)
        if batch is None or self.known[self.number] != (len(batch), _digest(batch)):
            raise InputError("the batches are not the same each time that they are read; does the DataLoader shuffle?")
        self.number += 1
        return batch

    def _read(self) -> Iterator[Tensor]:
        for batch in self.batches:
            x = batch[0] if isinstance(batch, (tuple, list)) else batch
            if not isinstance(x, Tensor):
                raise InputError(f"a batch must be a tensor or a pair (x, y) of tensors, got {type(x).__name__}")
            yield x.detach()


Examples = Tensor | Batches


def _digest(batch: Tensor) -> bytes:
    return hashlib.blake2b(batch.cpu().numpy().tobytes(), digest_size=16).digest()
