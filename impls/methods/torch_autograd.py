"""The classic loop: one `torch.autograd.grad` per example and output, as most people write it first.

A baseline. Its conventions are this project's; nothing is converted. Time N·O·FP for the gradients, in N·O calls, and
N²O²P for the matrix product (Jacobian contraction in Novak et al. 2022, arXiv 2206.08720, table 1); memory 2·B·O·P,
with B the `batch_size`, or N without one.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from impls.frameworks.torch.blocks import assemble, assemble_parts, contract
from impls.frameworks.torch.gradients import rows_of_one
from impls.frameworks.torch.support import Forward, Params, dtype_of, precision
from impls.methods.torch_functional import FunctionalMethod
from reference import Request
from reference.case import Outputs


def per_example(f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
    """The kernel from one backward pass per example and output."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with precision(dtype_of(params)):
        return assemble(lambda x: jacobian(f, leaves, x), lambda left, right: contract(left, right, request.outputs),
                        x1, x2, request.batch_size)


def per_example_components(
    f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request
) -> dict[str, Tensor]:
    """The kernel of each parameter, by its name, at the cost of `per_example`."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with precision(dtype_of(params)):
        return assemble_parts(lambda x: jacobian(f, leaves, x), partial(_by_parameter, leaves, request.outputs), x1, x2,
                              request.batch_size)


def _by_parameter(params: Params, outputs: Outputs, left: Tensor, right: Tensor) -> dict[str, Tensor]:
    sizes = [p.numel() for p in params.values()]
    pairs = zip(left.split(sizes, 2), right.split(sizes, 2), strict=True)
    return {name: contract(*pair, outputs) for name, pair in zip(params, pairs, strict=True)}


def jacobian(f: Forward, leaves: Params, x: Tensor) -> Float[Tensor, "N O P"]:
    return torch.stack([_gradients(f, leaves, example) for example in x])


def _gradients(f: Forward, leaves: Params, example: Tensor) -> Float[Tensor, "O P"]:
    """One example's gradients, the parameters flattened and joined in their order; zeros where one is not used."""
    rows = rows_of_one(f, leaves, example)
    return torch.stack([torch.cat([gradient.flatten() for gradient in row]) for row in rows])


METHODS = (FunctionalMethod("torch_autograd.per_example", per_example, per_example_components),)
