"""What one use of a parameter adds to the gradients: inflows against cotangents, biases that are carried along."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import vmap

from impls.structured.analysis import Group
from impls.structured.passes import scaled
from impls.structured.uses import Use


def arranged_cotangent(use: Use, cotangent: Tensor) -> Tensor:
    """(O, N, …) to (O, N, S, T, J)."""
    S, T, _, J = use.sizes
    if S == T == 1 and use.covers_y:
        return cotangent.reshape(*cotangent.shape[:2], 1, 1, J)
    return vmap(vmap(use.arrange))(cotangent)


def carried_inputs(group: Group, like: Tensor) -> Tensor:
    """(B, T): the values of the inputs that stand for the B carried biases."""
    return torch.tensor(group.carried_inputs.tolist(), dtype=like.dtype, device=like.device)


def carried_of_images(g: Tensor, group: Group) -> Tensor:
    """(O, N, S, J, B) from the cotangent of an image (O, N, batch, channels, …): its sums for the carried biases."""
    S, _, _, J = group.uses[0].sizes
    sums = g.sum((2, *range(4, g.ndim))).unflatten(2, (S, J))
    return torch.stack([scaled(sums, value) for _, (value,) in group.carried], 4)


def carried_of_rows(g: Tensor, group: Group) -> Tensor:
    """The same from (O, N, S, T, J)."""
    if g.shape[4] == 1 and all(set(values) == {1.0} for _, values in group.carried):  # a product of one row each
        return g.sum(3)[..., None].expand(*g.shape[:3], 1, len(group.carried))
    return g.mT @ carried_inputs(group, g).T


def gradient(a: Tensor, g: Tensor, group: Group) -> Tensor:
    """(O, N, S, …): Σ_t a[s,t,i] g[o,s,t,j]."""
    if a.shape[2] == 1:
        return a.mT * g
    if g.shape[4] == a.shape[3] == 1:  # a scale: products of one row and one column each
        return (g * a).sum(3)
    if number := _constant_inflow(group):
        return scaled(g.sum(3), number)
    blocks = g.new_empty(*g.shape[:3], a.shape[3], g.shape[4])
    for each, cotangent in zip(blocks.flatten(1, 2), g, strict=True):  # by outputs: a is not copied for each of them
        torch.bmm(a.flatten(0, 1).mT, cotangent.flatten(0, 1), out=each)
    return blocks


def _constant_inflow(group: Group) -> float | None:
    """The number that flows in everywhere, of a bias; None where it is not one number."""
    scales = {use.scale for use in group.uses}
    return scales.pop() if len(scales) == 1 and all(use.activation is None for use in group.uses) else None
