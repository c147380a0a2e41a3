"""What one use of a parameter adds to the gradients: inflows against cotangents, biases that are carried along."""

from __future__ import annotations

import torch
from torch import Tensor

from impls.structured.analysis import Group
from impls.structured.passes import scaled


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


def gradient(a: Tensor, g: Tensor) -> Tensor:
    """(O, N, S, I, J): Σ_t a[s,t,i] g[o,s,t,j]."""
    if g.shape[4] == a.shape[3] == 1:  # a scale: products of one row and one column each
        return (g * a).sum(3, keepdim=True)
    blocks = g.new_empty(*g.shape[:3], a.shape[3], g.shape[4])
    for each, cotangent in zip(blocks.flatten(1, 2), g, strict=True):  # by outputs: a is not copied for each of them
        torch.bmm(a.flatten(0, 1).mT, cotangent.flatten(0, 1), out=each)
    return blocks
