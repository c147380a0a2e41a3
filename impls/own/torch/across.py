"""Jacobians of blocks of examples and their products in PyTorch, for `impls.own.across`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from impls.frameworks.torch import blocks as torch_blocks
from impls.frameworks.torch.cotangents import pulled_back
from impls.frameworks.torch.support import Params, one_example, precision
from impls.given.network import OwnNetwork
from impls.methods.torch_autograd import jacobian as by_loop
from reference import Request, tolerance

SLACK = 10.0
"""Tolerances that the Jacobians of all examples at once may be off by."""


def jacobian(own: OwnNetwork, rows: slice, method: str) -> Params:
    """All examples at once by `vmap`, which one backward pass of the function itself confirms; else by a loop."""
    x = own.x1[rows]
    with precision(own.dtype):
        if method == "torch_autograd.per_example":
            return _loop(own, x)
        try:
            found = _mapped(own, x)
        except (RuntimeError, NotImplementedError, ValueError):  # PyTorch raises all of these for lack of a rule
            if method != "auto":
                raise
            return _loop(own, x)
        return found if method != "auto" or _confirmed(own, x, found) else _loop(own, x)


def contract(left: Tensor, right: Tensor, request: Request) -> Tensor:
    if left.shape[1] == right.shape[1]:
        return torch_blocks.contract(left, right, request.outputs)
    return torch.einsum("nap,mbp->nmab", left, right)


def contract_same(left: Tensor, right: Tensor, request: Request) -> Tensor:
    if request.outputs == "full":
        return left @ right.transpose(1, 2)
    products = (left * right).sum(2)
    return products if request.outputs == "diagonal" else products.sum(1)


def concatenate(blocks: Sequence[Tensor], axis: int) -> Tensor:
    return torch.cat(list(blocks), axis)


def mirrored(block: Tensor) -> Tensor:
    return block.permute(1, 0, 3, 2) if block.ndim == 4 else block.transpose(0, 1)


def _mapped(own: OwnNetwork, x: Tensor) -> Params:
    params = {name: p.detach() for name, p in own.params.items()}
    with torch.no_grad():
        found = vmap(jacrev(one_example(own.f)), in_dims=(None, 0))(params, x)
    return {name: part[..., None].flatten(2) for name, part in found.items()}


def _loop(own: OwnNetwork, x: Tensor) -> Params:
    leaves = {name: p.detach().requires_grad_() for name, p in own.params.items()}
    parts = by_loop(own.f, leaves, x).split([p.numel() for p in leaves.values()], 2)
    return dict(zip(leaves, parts, strict=True))


def _confirmed(own: OwnNetwork, x: Tensor, found: Params) -> bool:
    """Whether a backward pass of the last example, of a mixture of its outputs, agrees."""
    leaves = {name: p.detach().requires_grad_() for name, p in own.params.items()}
    with torch.enable_grad():
        y = own.f(leaves, x[-1:]).reshape(-1)
    weights = torch.linspace(0.5, 1.5, len(y), dtype=y.dtype, device=y.device)
    due = pulled_back(y, weights, tuple(leaves.values()))
    got = [weights @ part[-1] for part in found.values()]
    off = sum((one.reshape(-1) - other).square().sum() for one, other in zip(due, got, strict=True))
    scale = sum(one.square().sum() for one in due)
    return bool(off <= (SLACK * tolerance(own.dtype, "exact")) ** 2 * scale)
