"""The kernel of any PyTorch module in float64: one backward pass for each example and output."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from impls.frameworks.arrays import to_numpy
from reference import tolerance
from reference.case import DType


def jacobian(module: nn.Module, call: Callable[[nn.Module, int], Tensor], n: int) -> dict[str, Tensor]:
    """By the parameters' names (n, O, P_i). `call` evaluates the module on one example."""
    module = to_double(copy.deepcopy(module)).eval()
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    rows = [_rows(_real(call(module, example)), list(named.values())) for example in range(n)]
    return {name: torch.stack([row[i] for row in rows]) for i, name in enumerate(named)}


def to_double(module: nn.Module) -> nn.Module:
    """In place; complex parameters as well, which `Module.double` leaves."""
    wider = {torch.complex64: torch.complex128}
    return module._apply(lambda t: t.to(wider.get(t.dtype, torch.float64 if t.is_floating_point() else t.dtype)))


def _rows(y: Tensor, params: list[Tensor]) -> list[Tensor]:
    gradients = [torch.autograd.grad(output, params, retain_graph=True, materialize_grads=True, allow_unused=True)
                 for output in y.flatten()]
    return [torch.stack([_real(gradient[i].resolve_conj()).flatten() for gradient in gradients])
            for i in range(len(params))]


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def naive(module: nn.Module, call: Callable[[nn.Module, int], Tensor], n: int) -> np.ndarray:
    """The full kernel of examples 0 to n − 1."""
    parts = jacobian(module, call, n).values()
    return to_numpy(sum(torch.einsum("nap,mbp->nmab", part, part) for part in parts))


def agrees(kernel: Any, expected: np.ndarray, dtype: DType = "float32") -> None:
    """Within the tolerance of exact methods, of the kernel's largest entry."""
    found = to_numpy(kernel)
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert np.abs(found - expected).max() <= tolerance(dtype, "exact") * np.abs(expected).max()
