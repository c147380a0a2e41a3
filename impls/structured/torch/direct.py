"""Per-example gradients of a function that cannot be written down: one backward pass per example and output."""

from __future__ import annotations

import torch
from torch import Tensor

from impls.frameworks.torch.gradients import rows_of_one
from impls.frameworks.torch.support import Forward, Params


def looped_gradients(f: Forward, params: Params, x: Tensor) -> dict[str, Tensor]:
    """For each parameter (O, N, P); zeros where it is not used."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    each = [_of_one(f, leaves, example) for example in x]
    return {name: torch.stack([gradients[i] for gradients in each], 1) for i, name in enumerate(params)}


def _of_one(f: Forward, leaves: Params, example: Tensor) -> list[Tensor]:
    """For each parameter (O, P)."""
    rows = rows_of_one(f, leaves, example)
    return [torch.stack([row[i].flatten() for row in rows]) for i in range(len(leaves))]
