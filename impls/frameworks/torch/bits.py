"""Whether a network of float64 computes a part in fewer bits, as softmax and norms of transformers often do."""

from __future__ import annotations

from typing import Any

import torch

from impls.frameworks.torch.internals import Watching, tensors


class FewerBits(Watching):
    """Notes whether an operation makes fewer bits of something that is differentiated."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        depends = any(a.dtype == torch.float64 and a.requires_grad for a in tensors(args))
        self.seen |= depends and any(r.is_floating_point() and r.dtype != torch.float64 for r in tensors(result))
        return result
