"""The self-check's products in PyTorch: plain backward passes of the user's function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impls import registry
from impls.choice import torch_one_call
from impls.frameworks.arrays import to_numpy
from impls.frameworks.torch.bits import FewerBits
from impls.frameworks.torch.cotangents import pulled_back
from impls.frameworks.torch.support import Params, precision
from impls.given.network import OwnNetwork
from reference import Request


def products(own: OwnNetwork, x1: Tensor, x2: Tensor, u: np.ndarray, v: np.ndarray,
             rounded: int | None = None) -> tuple[Mapping[str, float], float]:
    """As `impls.own.halves.Half` says."""
    leaves = {name: (p.detach() if rounded is None else one_place_off(p.detach(), rounded, i)).requires_grad_()
              for i, (name, p) in enumerate(own.params.items())}
    known = None if rounded is not None or own.first is None else own.first  # of the first example of x1
    shares, scale = dict.fromkeys(leaves, 0.0), 0.0
    with precision(own.dtype), torch.enable_grad():
        y2 = own.f(leaves, x2).reshape(-1)
        y1 = None
        for row1, row2 in zip(u, v, strict=True):
            if known is not None and np.array_equal(row1, to_numpy(known.cotangent).reshape(-1)):
                left = tuple(known.gradients.values())
            else:
                y1 = (y2 if x2 is x1 else own.f(leaves, x1).reshape(-1)) if y1 is None else y1
                left = _pulled_back(y1, row1, leaves)
            right = _pulled_back(y2, row2, leaves)
            for name, a, b in zip(leaves, left, right, strict=True):
                shares[name] += float((a.double() * b.double()).sum())
            scale += length(left) * length(right)
    return shares, scale


def fewer_bits(own: OwnNetwork, x: Tensor) -> bool:
    """As `impls.own.halves.Half` says."""
    leaves = {name: p.detach().requires_grad_() for name, p in own.params.items()}
    with precision(own.dtype), torch.enable_grad(), FewerBits() as noted:
        own.f(leaves, x)
    return noted.seen


def ready(name: str, own: OwnNetwork, request: Request, allowed: float | None, *,
          components: bool) -> tuple[Any, bool] | None:
    """As `impls.own.halves.Half` says, without another look for operations that the method is known to be wrong for, as
    `torch_one_call.predicted` has looked. Jacobians are checked themselves, in one backward pass."""
    if components:
        return None
    method: Any = registry.load(name)
    if name != torch_one_call.MAPPED or allowed is None or own.first is None:
        return method.compute(own.f, own.params, own.x1, own.x2, request), name != torch_one_call.MAPPED
    look = LooksAtJacobians(own)
    kernel = method.compute(own.f, own.params, own.x1, own.x2, request, look)
    return kernel, look.right(allowed)


class LooksAtJacobians:
    """Holds the first row of the first block of Jacobians and the last of the last one, each under a random cotangent,
    against backward passes of the untouched function, one of which the checks of the network have made."""

    def __init__(self, own: OwnNetwork) -> None:
        self.own, self.seconds = own, 0.0
        self.blocks: list[tuple[Tensor, Params]] = []

    def __call__(self, x: Tensor, jacobians: Params) -> None:
        self.blocks.append((x[-1:], {name: jacobian[-1] for name, jacobian in jacobians.items()}))
        if len(self.blocks) == 1:
            self.first = {name: jacobian[0] for name, jacobian in jacobians.items()}

    def right(self, allowed: float) -> bool:
        """Whether no gradient is off by more than `allowed` times the length of them all."""
        first = self.own.first
        (x, last), leaves = self.blocks[-1], {name: p.detach().requires_grad_() for name, p in self.own.params.items()}
        with precision(self.own.dtype), torch.enable_grad():
            y = self.own.f(leaves, x)
        gradients = pulled_back(y, first.cotangent, tuple(leaves.values()))
        cotangent = first.cotangent.reshape(-1)
        return _agrees(cotangent, self.first, first.gradients, allowed) and _agrees(
            cotangent, last, dict(zip(leaves, gradients, strict=True)), allowed)


def _agrees(cotangent: Tensor, jacobians: Params, gradients: Params, allowed: float) -> bool:
    found = [cotangent @ jacobian for jacobian in jacobians.values()]
    due = [gradients[name].reshape(-1) for name in jacobians]
    off = length(tuple(a - b for a, b in zip(found, due, strict=True)))
    return off <= allowed * length(tuple(due))


def _pulled_back(y: Tensor, row: np.ndarray, leaves: Params) -> tuple[Tensor, ...]:
    return pulled_back(y, torch.tensor(row, dtype=y.dtype, device=y.device), tuple(leaves.values()))


def length(gradients: Iterable[Tensor]) -> float:
    """Of all their numbers together."""
    return sum(float(each.detach().double().square().sum()) for each in gradients) ** 0.5


def one_place_off(p: Tensor, seed: int, number: int) -> Tensor:
    """With relative errors of one unit in the last place, either way; PyTorch's own generator is not touched."""
    signs = torch.tensor(np.random.default_rng((seed, number)).integers(0, 2, tuple(p.shape)) * 2 - 1, device=p.device)
    return p * (1 + torch.finfo(p.dtype).eps * signs.to(p.dtype))
