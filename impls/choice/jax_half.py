"""What the choice asks of JAX: a network's plan and a forward pass counted; how fast its basic operations are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, primitives

from impls.choice.costs import Facts
from impls.choice.jax_one_call import predicted as one_call
from impls.choice.rates import Sizes
from impls.frameworks.jax import support, xla
from impls.frameworks.jax.support import Batched, precision
from impls.networks.jax_case import functional
from impls.structured.jax.engine import Engine
from reference import Request
from reference.case import Device, DType

__all__ = ["count", "engine", "facts", "functional", "one_call", "stand_in", "workloads"]

Counts = tuple[float, float]
"""Operations in matrix products, and in convolutions."""


def stand_in(x: jax.Array, n: int) -> jax.ShapeDtypeStruct:
    """Of the shape of n examples like those of `x`."""
    return jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype)


def facts(engine: Engine, f: Batched, params: Any, x1: jax.Array, request: Request) -> Facts:
    """Of the batched f with examples like those of x1; `engine` was made for it."""
    with precision(request.dtype):
        matmul, convolution = count(jax.make_jaxpr(f)(params, x1[:1]).jaxpr)
    n_params = sum(leaf.size for leaf in jax.tree.leaves(params))
    return Facts("jax", engine.plan, n_params, matmul, convolution, len(engine.analysis.program.steps))


def count(jaxpr: Jaxpr) -> Counts:
    """Of a program; those of a scan as often as it runs, of a while loop once, of a branch the dearest."""
    matmul = convolution = 0.0
    for eqn in jaxpr.eqns:
        own = _count_equation(eqn)
        matmul, convolution = matmul + own[0], convolution + own[1]
    return matmul, convolution


def _count_equation(eqn: JaxprEqn) -> Counts:
    if eqn.primitive is primitives.dot_general_p:
        (contracted, _), _ = eqn.params["dimension_numbers"]
        shape = eqn.invars[0].aval.shape  # pyright: ignore[reportAttributeAccessIssue]
        return 2.0 * _size(eqn) * math.prod(shape[axis] for axis in contracted), 0.0
    if eqn.primitive is primitives.conv_general_dilated_p:
        kernel = eqn.invars[1].aval.shape  # pyright: ignore[reportAttributeAccessIssue]
        out_channels = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
        return 0.0, 2.0 * _size(eqn) * math.prod(kernel) / out_channels
    inner = [(0.0, 0.0), *(count(jaxpr) for jaxpr in _inside(eqn))]
    if eqn.primitive.name == "cond":
        return max(inner, key=sum)
    times = eqn.params["length"] if eqn.primitive is primitives.scan_p else 1
    return times * sum(c[0] for c in inner), times * sum(c[1] for c in inner)


def _size(eqn: JaxprEqn) -> int:
    return math.prod(eqn.outvars[0].aval.shape)  # pyright: ignore[reportAttributeAccessIssue]


def _inside(eqn: JaxprEqn) -> Iterator[Jaxpr]:
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, Jaxpr):
                yield part


def engine(method: Any, f: Batched, params: Any, x1: Any, x2: Any, request: Request) -> Engine:
    return method.engine(f, params, x1, x2, request)


def workloads(device: Device, dtype: DType, sizes: Sizes) -> tuple[Callable[[], Any], ...]:
    where = support.device(device)

    def ready(compute: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], None]:
        with support.precision(dtype):
            arrays = [jax.device_put(np.ones(shape, dtype), where) for shape in shapes]
        program = xla.compiled(compute)

        def run() -> None:
            with support.precision(dtype):
                program(*arrays).block_until_ready()
        return run

    def convolve(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME")

    return (ready(jnp.matmul, (sizes.matrix, sizes.matrix), (sizes.matrix, sizes.matrix)),
            ready(convolve, (8, sizes.channels, sizes.image, sizes.image), (sizes.channels, sizes.channels, 3, 3)),
            ready(jnp.add, (sizes.copied,), (sizes.copied,)), ready(jnp.add, (8,), (8,)))
