"""The self-check's products in PyTorch: plain backward passes of the user's function."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from impls.frameworks.torch.cotangents import pulled_back
from impls.frameworks.torch.support import Params, precision
from impls.given.network import OwnNetwork


def products(own: OwnNetwork, x1: Tensor, x2: Tensor, u: np.ndarray, v: np.ndarray,
             rounded: int | None = None) -> tuple[Mapping[str, float], float]:
    """As `selfcheck.Witness` says."""
    leaves = {name: (p.detach() if rounded is None else _rounded(p.detach(), rounded, i)).requires_grad_()
              for i, (name, p) in enumerate(own.params.items())}
    shares, scale = dict.fromkeys(leaves, 0.0), 0.0
    with precision(own.dtype), torch.enable_grad():
        y1 = own.f(leaves, x1).reshape(-1)
        y2 = y1 if x2 is x1 else own.f(leaves, x2).reshape(-1)
        for row1, row2 in zip(u, v, strict=True):
            left, right = _pulled_back(y1, row1, leaves), _pulled_back(y2, row2, leaves)
            for name, a, b in zip(leaves, left, right, strict=True):
                shares[name] += float((a.double() * b.double()).sum())
            scale += _length(left) * _length(right)
    return shares, scale


def _pulled_back(y: Tensor, row: np.ndarray, leaves: Params) -> tuple[Tensor, ...]:
    return pulled_back(y, torch.tensor(row, dtype=y.dtype, device=y.device), tuple(leaves.values()))


def _length(gradients: tuple[Tensor, ...]) -> float:
    return sum(float(each.double().square().sum()) for each in gradients) ** 0.5


def _rounded(p: Tensor, seed: int, number: int) -> Tensor:
    """With relative errors of one unit in the last place, either way; PyTorch's own generator is not touched."""
    signs = torch.tensor(np.random.default_rng((seed, number)).integers(0, 2, tuple(p.shape)) * 2 - 1, device=p.device)
    return p * (1 + torch.finfo(p.dtype).eps * signs.to(p.dtype))
