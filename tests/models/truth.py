"""What the kernels of the suite are held against: one backward pass for each example and output, in float64.

Written for this suite alone: it calls the module itself, and shares nothing with the methods that it judges.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tests.models.entry import N_EXAMPLES, Made


def in_float64(made: Made) -> torch.nn.Module:
    """A copy with double precision, complex numbers included."""
    model = copy.deepcopy(made.model)
    for tensors in (model.parameters(), model.buffers()):
        for tensor in tensors:
            if tensor.is_complex() or tensor.is_floating_point():
                tensor.data = tensor.data.to(torch.complex128 if tensor.is_complex() else torch.float64)
    return model


def to_float64(x: object) -> object:
    """Inputs, likewise."""
    if isinstance(x, dict):
        return {name: to_float64(value) for name, value in x.items()}
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


def kernel(made: Made) -> np.ndarray:
    """The trace kernel (N, N)."""
    model, x = in_float64(made), to_float64(made.x)
    params = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for n in range(N_EXAMPLES):
        twice = [n, n]  # a batch of one has backward passes of its own, and one of PyTorch's is wrong (BatchNorm)
        outputs = made.plain(model, twice) if made.plain else model(x[twice])  # pyright: ignore[reportIndexIssue]
        rows.append([_gradient(o, params) for o in outputs[0].reshape(-1)])
    found = np.zeros((N_EXAMPLES, N_EXAMPLES))
    for n, m in np.ndindex(found.shape):
        found[n, m] = sum(float(a @ b) for a, b in zip(rows[n], rows[m], strict=True))
    return found


def _gradient(output: Tensor, params: Sequence[Tensor]) -> Tensor:
    found = torch.autograd.grad(output, params, retain_graph=True, allow_unused=True)
    return torch.cat([_real(p.new_zeros(p.shape) if g is None else g) for p, g in zip(params, found, strict=True)])


def _real(gradient: Tensor) -> Tensor:
    """A complex parameter is a pair of real ones; PyTorch's gradient of a real output is ∂/∂re + i ∂/∂im."""
    return (torch.view_as_real(gradient) if gradient.is_complex() else gradient).reshape(-1)
