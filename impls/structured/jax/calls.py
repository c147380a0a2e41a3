"""Calls within a program: opened to see what they do, and what is known of those with a derivative of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from impls.structured.jax.names import CALLS, NUMBER_BY_NUMBER, WITH_DERIVATIVE
from impls.structured.jax.program import Program, Step
from impls.structured.program import Constant, Operand, Value
from impls.structured.rules import Opened


def opened(program: Program) -> Opened:
    """The program with its calls replaced by what they do."""
    steps: list[Step] = []
    shown: dict[Operand, Value] = {}
    within: dict[Operand, Operand] = {}
    for step in program.steps:
        inputs = [within.get(operand, operand) for operand in step.inputs]
        outputs = _open(steps, step.primitive, step.params, inputs, step.outputs)
        for value, operand in zip(step.outputs, outputs, strict=True):
            within[value] = operand
            shown.setdefault(operand, value)
    return steps, within.get(program.output, program.output), shown


def _open(steps: list[Step], primitive: Any, params: Any, inputs: Sequence[Operand],
          outputs: Sequence[Value]) -> list[Operand]:
    body = _body(params) if primitive.name in CALLS else None
    if body is None:
        steps.append(Step(primitive, params, tuple(inputs), tuple(outputs)))
        return list(outputs)
    env: dict[Var, Operand] = dict(zip(body.jaxpr.invars, inputs, strict=True))
    env.update((var, Constant(const)) for var, const in zip(body.jaxpr.constvars, body.consts, strict=True))

    def read(atom: Any) -> Operand:
        return Constant(atom.val) if isinstance(atom, Literal) else env[atom]

    for eqn in body.jaxpr.eqns:
        operands = [read(atom) for atom in eqn.invars]
        made = _open(steps, eqn.primitive, eqn.params, operands, _values(eqn, operands))
        env.update(zip(eqn.outvars, made, strict=True))
    return [read(atom) for atom in body.jaxpr.outvars]


def _values(eqn: JaxprEqn, inputs: Sequence[Operand]) -> list[Value]:
    parameters = frozenset[int]().union(*(operand.parameters for operand in inputs))
    on_example = any(operand.on_example for operand in inputs)
    avals: list[Any] = [var.aval for var in eqn.outvars]
    return [Value(tuple(aval.shape), aval.dtype, parameters, on_example) for aval in avals]


def _body(params: Any) -> ClosedJaxpr | None:
    body = params.get("jaxpr", params.get("call_jaxpr"))
    return ClosedJaxpr(body, ()) if isinstance(body, Jaxpr) else body


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
        body = _body(eqn.params) if eqn.primitive.name in (*CALLS, *WITH_DERIVATIVE) else None
        if body is not None:
            inner = [var for var, enters in zip(body.jaxpr.invars, entering, strict=True) if enters]
            if not _keeps_numbers_apart(body.jaxpr, inner, shape):
                return False
        elif eqn.primitive.name not in NUMBER_BY_NUMBER:
            return False
        avals: list[Any] = [var.aval for var in eqn.outvars]
        if any(tuple(aval.shape) != shape for aval in avals):
            return False
        dependent.update(eqn.outvars)
    return True
