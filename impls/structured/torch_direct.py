"""Per-example gradients of a function that cannot be written down: one backward pass per example and output."""

from __future__ import annotations

import torch
from torch import Tensor

from impls.torch_support import Forward, Params, one_example


def looped_gradients(f: Forward, params: Params, x: Tensor) -> dict[str, Tensor]:
    """For each parameter (O, N, P); zeros where it is not used."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    each = [_of_one(f, leaves, example) for example in x]
    return {name: torch.stack([gradients[i] for gradients in each], 1) for i, name in enumerate(params)}


def _of_one(f: Forward, leaves: Params, example: Tensor) -> list[Tensor]:
    """For each parameter (O, P)."""
    tensors = tuple(leaves.values())
    with torch.enable_grad():
        outputs = one_example(f)(leaves, example).unbind()
    rows = [
        torch.autograd.grad(y, tensors, retain_graph=True, allow_unused=True, materialize_grads=True) for y in outputs
    ]
    return [torch.stack([row[i].flatten() for row in rows]) for i in range(len(tensors))]
