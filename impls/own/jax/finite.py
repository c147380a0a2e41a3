"""Where JAX first computes NaN or infinity."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal

from impls.frameworks.arrays import first_bad
from impls.frameworks.jax.support import bind, flat_outputs, leaf_names, precision
from impls.given.network import OwnNetwork


def forward(own: OwnNetwork, example: jax.Array) -> str | None:
    """The operation of the forward pass of one example, and its place in the program, where outputs are not finite."""
    with precision(own.dtype):
        closed = jax.make_jaxpr(own.f)(own.params, example)
        values = dict(zip(closed.jaxpr.invars, jax.tree.leaves((own.params, example)), strict=True))
        values.update(zip(closed.jaxpr.constvars, closed.consts, strict=True))
        if first_bad([("", own.f(own.params, example))]) is None:
            return None
        return _operation(closed, values) or "its outputs"


def _operation(closed: ClosedJaxpr, values: dict[Any, Any]) -> str | None:
    """The first whose result is not finite, the program being run one operation after the other."""
    for eqn in closed.jaxpr.eqns:
        given = [values[v] if not isinstance(v, Literal) else v.val for v in eqn.invars]
        outs = bind(eqn.primitive, eqn.params, given)
        outs = outs if eqn.primitive.multiple_results else [outs]
        if first_bad([("", out) for out in outs]) is not None:
            shape = getattr(eqn.outvars[0].aval, "shape", ())
            return f"the operation {eqn.primitive.name} with a result of shape {tuple(shape)}"
        values.update(zip(eqn.outvars, outs, strict=True))
    return None


def backward(own: OwnNetwork, example: jax.Array) -> str | None:
    """The parameter whose gradient is not finite, for some output of one example."""
    with precision(own.dtype):
        y, pull = jax.vjp(lambda p: flat_outputs(own.f(p, example), 1)[0], own.params)
        for output in jax.numpy.eye(y.size, dtype=y.dtype):
            leaves = jax.tree.leaves(pull(output)[0])
            if (name := first_bad(zip(leaf_names(own.params), leaves, strict=True))) is not None:
                return f"{name!r}"
    return None
