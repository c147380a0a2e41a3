"""Examples that arrive in batches, of a `torch.utils.data.DataLoader` say, as tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from impls.structured.batches import Reread


class Batches:
    """As one tensor of all examples, as far as the engine reads one: its length, slices of it, its first example.

    Only the batches of one slice are in memory at a time. Slices that follow each other are read in one go.
    """

    def __init__(self, batches: Iterable[Any], device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.batches = Reread(batches, "a tensor", lambda x: x.detach() if isinstance(x, Tensor) else None,
                              lambda x: x.cpu().numpy())
        self._rewind()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, which: slice | int) -> Tensor:
        start, stop = (which, which + 1) if isinstance(which, int) else (which.start, which.stop)
        if start < self.position:
            self._rewind()
        parts: list[Tensor] = []
        while sum(map(len, parts)) < stop - start:
            batch = self.rest if len(self.rest) else next(self.stream)
            skipped = min(start - self.position, len(batch)) if not parts else 0
            taken = batch[skipped:skipped + stop - start - sum(map(len, parts))]
            self.rest = batch[skipped + len(taken):]
            self.position += skipped + len(taken)
            if len(taken):
                parts.append(taken)
        x = torch.cat(parts) if len(parts) > 1 else parts[0]
        x = x.to(self.device, self.dtype if x.is_floating_point() else None)
        return x[0] if isinstance(which, int) else x

    def _rewind(self) -> None:
        self.stream, self.position, self.rest = iter(self.batches), 0, torch.empty(0)


Examples = Tensor | Batches
