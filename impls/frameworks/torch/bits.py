"""Whether a network of float64 computes a part in fewer bits, as softmax and norms of transformers often do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from impls.frameworks.torch.internals import Watching


class FewerBits(Watching):
    """Notes whether an operation makes fewer bits of something that is differentiated."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        depends = any(a.dtype == torch.float64 and a.requires_grad for a in _tensors(args))
        self.seen |= depends and any(r.is_floating_point() and r.dtype != torch.float64 for r in _tensors(result))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those of an operation's arguments or results, which are at most lists in tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
