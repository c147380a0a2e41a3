"""The backward passes: the cotangents of some outputs of all examples at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import vmap

from impls.structured.tails import Linear


class Cotangents:
    """For each tap (O, N, …): its gradient for some of the outputs of each example."""

    def __init__(self, out: Tensor, hidden: Sequence[Tensor], seed: Tensor | None, taps: Sequence[Tensor]) -> None:
        n, n_outputs = out.shape
        each = torch.eye(n_outputs, dtype=out.dtype, device=out.device)[:, None].expand(n_outputs, n, n_outputs)
        ends = [(out, each)] + [(h, seed[:, None].expand(n_outputs, *h.shape)) for h in hidden if seed is not None]
        self.ends = [end for end in ends if end[0].requires_grad]
        self.taps = taps

    def __call__(self, first: int, last: int) -> Sequence[Tensor]:
        n_outputs = last - first
        if not self.taps or not self.ends:
            return [tap.new_zeros(n_outputs, *tap.shape) for tap in self.taps]
        starts, cotangents = zip(*self.ends, strict=True)

        def rows_of(*each: Tensor) -> Sequence[Tensor]:
            return torch.autograd.grad(
                starts, self.taps, each, retain_graph=True, allow_unused=True, materialize_grads=True
            )

        if n_outputs == 1:
            return [row[None] for row in rows_of(*(c[first] for c in cotangents))]
        # Not `is_grads_batched`, whose rules lack some operations, convolutions among them: it makes these output by
        # output and copies the results together (seen: a ResNet in 1.2 times the time, with two threads).
        return vmap(rows_of)(*(c[first:last] for c in cotangents))


def linear_cotangents(linear: Linear, parameters: Sequence[Tensor]) -> Tensor:
    """Of the end of a tail, the same for all examples: (O, …)."""
    n_outputs, where, dtype = linear.program.n_outputs, parameters[0].device, linear.end.dtype
    ends = torch.zeros(n_outputs, *linear.end.shape, dtype=dtype, device=where, requires_grad=True)

    def outputs_of(end: Tensor) -> Tensor:
        return linear(parameters, end, lambda value: end.new_zeros(value.shape, dtype=value.dtype))

    with torch.enable_grad():
        outputs = vmap(outputs_of)(ends)
    return torch.autograd.grad(outputs, ends, torch.eye(n_outputs, dtype=outputs.dtype, device=where))[0]


WRONG_WHEN_BATCHED = {
    "CopySlices": "written in place, which a batching rule may do where the program does not (seen: select_scatter)",
    "AsStridedBackward0": "the same",
    "CdistBackward0": "the batching rule of _cdist_backward is wrong",
}
"""Nodes of autograd whose backward pass, made for several outputs at once, gives wrong numbers in PyTorch 2.13: of all
its operations these were found to, by a comparison with one output after the other."""


def may_be_batched(ends: Sequence[Tensor]) -> bool:
    """Whether none of these lies behind the values."""
    nodes = [end.grad_fn for end in ends if end.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if node.name().rpartition("::")[2] in WRONG_WHEN_BATCHED:
            return False
        following = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= following
        nodes.extend(following)
    return True
