"""Gradients of one example: one backward pass for each output; `cotangents` mends normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from impls.frameworks.torch.cotangents import ContiguousCotangents
from impls.frameworks.torch.support import Forward, Params, one_example


def rows_of_one(f: Forward, leaves: Params, example: Tensor) -> list[Sequence[Tensor]]:
    """For each output the gradient of each of `leaves`, which require gradients; zeros where one is not used."""
    with torch.enable_grad(), ContiguousCotangents():
        outputs = one_example(f)(leaves, example).unbind()
    tensors = tuple(leaves.values())
    if outputs and not outputs[0].requires_grad:  # of an example that the network takes past these parameters
        return [tuple(map(torch.zeros_like, tensors)) for _ in outputs]
    return [torch.autograd.grad(y, tensors, retain_graph=True, allow_unused=True, materialize_grads=True)
            for y in outputs]  # fmt: skip
