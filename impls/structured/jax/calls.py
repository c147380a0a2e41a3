"""What is known of calls with a derivative of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
from jax.extend.core import Jaxpr, Var

from impls.programs.jax.program import CALLS, Step, body_of
from impls.programs.program import Constant, Value
from impls.structured.jax.names import NUMBER_BY_NUMBER, WITH_DERIVATIVE


def derivative_is_number_by_number(step: Step) -> bool:
    """Its derivative is its author's, and may be another than that of what it computes."""
    (y,) = step.outputs
    arrays = [operand for operand in dict.fromkeys(step.inputs) if isinstance(operand, Value)]
    if any(operand.shape != y.shape for operand in arrays):
        return False

    def run(*values: Any) -> Any:
        known = dict(zip(arrays, values, strict=True))
        return step(lambda operand: operand.value if isinstance(operand, Constant) else known[operand])[0]

    def backward(cotangent: Any, values: list[Any]) -> Any:
        return jax.vjp(run, *values)[1](cotangent)

    inputs = [jax.ShapeDtypeStruct(operand.shape, operand.dtype) for operand in arrays]
    jaxpr = jax.make_jaxpr(backward)(jax.ShapeDtypeStruct(y.shape, y.dtype), inputs).jaxpr
    return _keeps_numbers_apart(jaxpr, jaxpr.invars, y.shape)


def _keeps_numbers_apart(jaxpr: Jaxpr, inputs: Iterable[Var], shape: tuple[int, ...]) -> bool:
    """Whether all that depends on `inputs` has this shape, and each number of it depends on the same one of them."""
    dependent = set(inputs)
    for eqn in jaxpr.eqns:
        entering = [isinstance(atom, Var) and atom in dependent for atom in eqn.invars]
        if not any(entering):
            continue
        if eqn.primitive.name in (*CALLS, *WITH_DERIVATIVE):
            body = body_of(eqn.params).jaxpr
            inner = [var for var, enters in zip(body.invars, entering, strict=True) if enters]
            if not _keeps_numbers_apart(body, inner, shape):
                return False
        elif eqn.primitive.name not in NUMBER_BY_NUMBER:
            return False
        avals: list[Any] = [var.aval for var in eqn.outvars]
        if any(tuple(aval.shape) != shape for aval in avals):
            return False
        dependent.update(eqn.outvars)
    return True
