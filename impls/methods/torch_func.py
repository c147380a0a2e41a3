"""`torch.func`: the two methods of PyTorch's tutorial "Neural Tangent Kernels", for any batched function.

The tutorial's conventions are this project's (layout (N1, N2, O, O), trace = sum); nothing is converted. Added to it:
blocks of examples, symmetry across blocks, the diagonal and the trace contracted directly, and products that use the
batch axis of f itself for x2. Costs follow Novak et al. 2022 (arXiv 2206.08720, table 1): FP is one forward pass of one
example, P the number of parameters, B the `batch_size`, or N without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.func import jacrev, vjp, vmap

from impls.frameworks.torch.blocks import assemble, assemble_parts, contract, summed
from impls.frameworks.torch.forward_mode import as_in_training, jvp
from impls.frameworks.torch.support import Forward, Params, differentiating, dtype_of, one_example, precision
from impls.methods.torch_functional import FunctionalMethod
from reference import Request
from reference.case import Outputs


def jacobian_contraction(f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request,
                         look: Callable[[Tensor, Params], None] | None = None) -> Tensor:
    """Per-example Jacobians by reverse mode, contracted parameter by parameter.

    Time N·O·FP for the Jacobians and N²O²P for the contraction (N²OP for the diagonal and the trace); memory 2·B·O·P.
    `look` is shown each block of examples with its Jacobians, (B, O, P_i) for each parameter.
    """

    def block(left: Params, right: Params) -> Tensor:
        return summed(contract(left[name], right[name], request.outputs) for name in params)

    def part(x: Tensor) -> Params:
        jacobians = _jacobians(f, _detached(params), x)
        if look is not None:
            look(x, jacobians)
        return jacobians

    with _transforming(f, params, x1):
        return assemble(part, block, x1, x2, request.batch_size)


def jacobian_components(
    f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request
) -> dict[str, Tensor]:
    """The kernel of each parameter, by its name, at the cost of `jacobian_contraction`."""

    def blocks(left: Params, right: Params) -> Params:
        return {name: contract(left[name], right[name], request.outputs) for name in params}

    with _transforming(f, params, x1):
        return assemble_parts(partial(_jacobians, f, _detached(params)), blocks, x1, x2, request.batch_size)


def ntk_vector_products(f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
    """Each cotangent of each example pulled back to the parameters (vjp), then pushed forward to all of x2 (jvp).

    Time N²O·FP, for the diagonal and the trace as well: O times less than the contraction where P is large beside the
    cost of a forward pass. Memory B·O·P for the pulled-back vectors and B²·O times an example's activations. Every
    operation of f needs both reverse and forward mode.
    """

    def block(left: Tensor, right: Tensor) -> Tensor:
        return _products(f, _detached(params), left, right, request.outputs)

    with _transforming(f, params, x1):
        return assemble(lambda x: x, block, x1, x2, request.batch_size)


@contextmanager
def _transforming(f: Forward, params: Params, x: Tensor) -> Iterator[None]:
    """Inside, in full precision, the transforms differentiate f, and nothing outside is recorded.

    An operation of f that they have no rule for (`nn.LSTM`, say) raises `NotImplementedError`.
    """
    def evaluate() -> Tensor:
        return f({name: p.detach().requires_grad_() for name, p in params.items()}, x[:1])

    with torch.no_grad(), precision(dtype_of(params)), differentiating("torch.func", evaluate):
        yield


def _jacobians(f: Forward, params: Params, x: Tensor) -> Params:
    """For each parameter (N, O, P_i)."""
    jacobians = vmap(jacrev(one_example(f)), in_dims=(None, 0))(params, x)
    return {name: jacobian[..., None].flatten(2) for name, jacobian in jacobians.items()}


def _products(f: Forward, params: Params, x1: Tensor, x2: Tensor, outputs: Outputs) -> Tensor:
    def rows_of(example: Tensor) -> Tensor:
        y, pull_back = vjp(lambda p: one_example(f)(p, example), params)[:2]

        def row(cotangent: Tensor) -> Tensor:
            (vector,) = pull_back(cotangent)
            # f on the whole of x2, not a vmap over its examples: that would copy `vector` for each of them.
            products = jvp(lambda p: as_in_training(f)(p, x2).reshape(len(x2), -1), (params,), (vector,))[1]
            return products if outputs == "full" else products @ cotangent  # (N2, O), or (N2,) for its own output

        return vmap(row)(torch.eye(y.numel(), dtype=y.dtype, device=y.device))

    products = vmap(rows_of)(x1)  # (N1, O, N2, O) or (N1, O, N2)
    return products.sum(1) if outputs == "trace" else products.transpose(1, 2)


def _detached(params: Params) -> Params:
    return {name: p.detach() for name, p in params.items()}


METHODS = (
    FunctionalMethod("torch_func.jacobian_contraction", jacobian_contraction, jacobian_components),
    FunctionalMethod("torch_func.ntk_vector_products", ntk_vector_products, forward_mode=True),
)
