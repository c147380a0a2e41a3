"""What one use of a parameter adds to the gradients: inflows against cotangents, biases that are carried along."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import vmap

from impls.structured.analysis import Group
from impls.structured.uses import Use


def arranged_cotangent(use: Use, cotangent: Tensor) -> Tensor:
    """(O, N, …) to (O, N, S, T, J)."""
    S, T, _, J = use.sizes
    if S == T == 1 and use.covers_y:
        return cotangent.reshape(*cotangent.shape[:2], 1, 1, J)
    return vmap(vmap(use.arrange))(cotangent)


def scaled(array: Tensor, scale: float) -> Tensor:
    return array if scale == 1.0 else array * scale


def carried_inputs(group: Group, like: Tensor) -> Tensor:
    """(B, T): the values of the inputs that stand for the B carried biases."""
    return torch.tensor(group.carried_inputs.tolist(), dtype=like.dtype, device=like.device)


def carried_of_images(g: Tensor, group: Group) -> Tensor:
    """(O, N, S, J, B) from the cotangent of an image (O, N, batch, channels, …): its sums for the carried biases."""
    S, _, _, J = group.uses[0].sizes
    sums = g.sum((2, *range(4, g.ndim))).unflatten(2, (S, J))
    return torch.stack([scaled(sums, value) for _, (value,) in group.carried], 4)


def gradient(a: Tensor, g: Tensor, group: Group) -> Tensor:
    """(O, N, S·(I + B)·J): Σ_t a[s,t,i] g[o,s,t,j], for the carried biases as well."""
    values = carried_inputs(group, a)
    if a.shape[2] == 1:
        if group.carried:
            a = torch.cat([a, values.T.expand(*a.shape[:2], -1, -1)], 3)
        return (a.mT * g).flatten(2)
    (n_outputs, n, S, _, J), I = g.shape, a.shape[3]
    if I == J == 1:  # a scale: products of one row and one column each
        rows = [a, *(row[:, None] for row in values)]
        ones = [False, *(set(times) == {1.0} for _, times in group.carried)]
        shares = [g.sum(3) if one else (g * row).sum(3) for row, one in zip(rows, ones, strict=True)]
        return torch.cat(shares, 3).flatten(2)
    if number := _constant_inflow(group):
        return scaled(g.sum(3), number).flatten(2)
    blocks = g.new_empty(n_outputs, n * S, I + len(values), J)
    for each, cotangent in zip(blocks, g, strict=True):  # one output at a time: a is not copied for each of them
        torch.bmm(a.flatten(0, 1).mT, cotangent.flatten(0, 1), out=each[:, :I])
    if group.carried:
        blocks[:, :, I:] = (g.mT @ values.T).mT.flatten(1, 2)
    return blocks.view(n_outputs, n, -1)


def _constant_inflow(group: Group) -> float | None:
    """The number that flows in everywhere, of a bias; None where it is not one number."""
    scales = {use.scale for use in group.uses}
    return scales.pop() if len(scales) == 1 and all(use.activation is None for use in group.uses) else None
