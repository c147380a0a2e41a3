"""Where PyTorch first computes NaN or infinity."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from impls.frameworks.arrays import first_bad
from impls.frameworks.torch.internals import OpOverload, Watching, tensors
from impls.frameworks.torch.support import precision
from impls.given.network import OwnNetwork


class _Finite(Watching):
    """Keeps the first operation whose result is not finite though what it was given is, and the last parameter read."""

    def __init__(self, own: OwnNetwork) -> None:
        super().__init__()
        self.names = {(p.untyped_storage().data_ptr(), p.storage_offset()): name for name, p in own.params.items()}
        self.last = self.found = ""

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tensors(args):
            self.last = self.names.get((tensor.untyped_storage().data_ptr(), tensor.storage_offset()), self.last)
        if not self.found and not _finite(out) and _finite(args):
            after = f", at or after parameter {self.last!r}" if self.last else ""
            self.found = f"the operation {func.name().removeprefix('aten::').split('.')[0]}{after}"
        return out


def forward(own: OwnNetwork, example: Tensor) -> str | None:
    """The operation and the parameter of the forward pass of one example, where its outputs are not finite."""
    leaves = {name: p.detach().requires_grad_() for name, p in own.params.items()}  # f may differentiate with them
    with torch.no_grad(), precision(own.dtype), _Finite(own) as watching:
        y = own.f(leaves, example)
    if _finite(y):
        return None
    return watching.found or "its outputs"


def backward(own: OwnNetwork, example: Tensor) -> str | None:
    """The parameter nearest to the outputs whose gradient is not finite, for some output of one example."""
    leaves = {name: p.detach().requires_grad_() for name, p in own.params.items()}
    with precision(own.dtype), ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        y = own.f(leaves, example).reshape(-1)
        for output in y:
            gradients = torch.autograd.grad(output, tuple(leaves.values()), retain_graph=True, allow_unused=True,
                                            materialize_grads=True)
            if (name := first_bad(reversed(list(zip(leaves, gradients, strict=True))))) is not None:
                return f"{name!r}, at or after which the numbers leave {own.dtype}"
    return None


def _finite(some: Any) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors(some) if tensor.is_floating_point())
