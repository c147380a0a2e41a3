"""A network as a flat list of steps for one example, with what each value depends on.

Calls that hold parameters are opened (jit, remat) or unrolled (short scans); a call with a derivative of its own
(custom_jvp, custom_vjp) stays closed, for its body's derivative may be another one. Calls that parameters do not enter
stay closed as well: nothing inside is of interest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive, Var, primitives

from impls.programs.jax.program import CALLS, Program, Step, bind, body_of
from impls.programs.program import Constant, Opened, Operand, Value, alive

MAX_UNROLLED_STEPS = 4096
"""A scan that would become longer than this stays closed: compiling it would take longer than it saves."""


def trace(f: Callable[[list[Any], Any], Any], parameters: Sequence[Any], example: Any) -> Program:
    """The program of ``f(parameters, example) -> (O,)``; arrays or `jax.ShapeDtypeStruct` stand for shapes."""
    closed = jax.make_jaxpr(f)(list(parameters), example)
    builder = _Builder()
    inputs = tuple(Value(tuple(p.shape), p.dtype, frozenset({i}), False) for i, p in enumerate(parameters))
    x = Value(tuple(example.shape), example.dtype, frozenset(), True)
    (output,) = builder.run(closed, (*inputs, x))
    return Program(inputs, x, alive(builder.steps, [output]), output, builder.unknown)


def opened(program: Program) -> Opened:
    """The program with its calls replaced by what they do."""
    builder = _Builder(everywhere=True)
    shown: dict[Operand, Value] = {}
    within: dict[Operand, Operand] = {}
    for step in program.steps:
        inputs = [within.get(operand, operand) for operand in step.inputs]
        if step.name in CALLS:
            outputs = builder.run(body_of(step.params), inputs)
            within |= zip(step.outputs, outputs, strict=True)
        else:
            outputs = step.outputs
            builder.steps.append(replace(step, inputs=tuple(inputs)))
        for value, operand in zip(step.outputs, outputs, strict=True):
            shown.setdefault(operand, value)
    return builder.steps, within.get(program.output, program.output), shown


Shapes = Sequence[tuple[tuple[int, ...], Any]]
"""With dtypes."""


@dataclass
class _Builder:
    """`everywhere`: calls are opened whether or not parameters enter them."""

    everywhere: bool = False
    steps: list[Step] = field(default_factory=list)
    unknown: dict[Value, Any] = field(default_factory=dict)

    def run(self, closed: ClosedJaxpr, inputs: Sequence[Operand]) -> list[Operand]:
        jaxpr = closed.jaxpr
        env: dict[Var, Operand] = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update((var, self._held(const)) for var, const in zip(jaxpr.constvars, closed.consts, strict=True))

        def read(atom: Any) -> Operand:
            return Constant(atom.val) if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            avals: list[Any] = [var.aval for var in eqn.outvars]
            shapes = [(tuple(aval.shape), aval.dtype) for aval in avals]
            outputs = self.apply(eqn.primitive, eqn.params, [read(atom) for atom in eqn.invars], shapes)
            env.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _held(self, const: Any) -> Operand:
        if not isinstance(const, jax.core.Tracer):
            return Constant(const)
        value = Value(tuple(const.shape), const.dtype, frozenset(), True)
        self.unknown[value] = const
        return value

    def apply(self, primitive: Primitive, params: Mapping[str, Any], inputs: list[Operand],
              outputs: Shapes) -> list[Operand]:
        enters = any(operand.only_parameters for operand in inputs)
        if primitive.name in ((*CALLS, "remat2", "checkpoint") if enters else CALLS if self.everywhere else ()):
            return self.run(body_of(params), inputs)
        if enters and primitive is primitives.scan_p and _unrolled_length(params) <= MAX_UNROLLED_STEPS:
            return self._scan(params, inputs, outputs)
        if enters and primitive.name == "split":  # the parts one by one: a step with one output is what the rules know
            sizes, axis = [int(n) for n in params["sizes"]], params["axis"]
            ends = [*zip(accumulate(sizes, initial=0), accumulate(sizes), strict=False)]
            return self._written(lambda x: [lax.slice_in_dim(x, *each, axis=axis) for each in ends], inputs)
        if enters and primitive.name == "unstack":  # since JAX 0.11
            return self._rows(inputs[0], params["axis"])
        if primitive is primitives.slice_p and outputs[0][0] == inputs[0].shape:
            return inputs[:1]  # of all: JAX 0.8 writes y[0] so, of one example
        return self.add(primitive, params, inputs, outputs)

    def add(self, primitive: Primitive, params: Mapping[str, Any], inputs: Sequence[Operand],
            outputs: Shapes) -> list[Operand]:
        """Append a step, or compute it at once where it only makes numbers out of known numbers."""
        known = [operand.value for operand in inputs if isinstance(operand, Constant)]
        if inputs and len(known) == len(inputs) and all(math.prod(shape) <= 1 for shape, _ in outputs):
            with jax.ensure_compile_time_eval():
                return [Constant(value) for value in bind(primitive, params, known)]
        parameters = frozenset[int]().union(*(operand.parameters for operand in inputs))
        on_example = any(operand.on_example for operand in inputs)
        made = tuple(Value(shape, dtype, parameters, on_example) for shape, dtype in outputs)
        self.steps.append(Step(primitive, params, tuple(inputs), made))
        return list(made)

    def _scan(self, params: Mapping[str, Any], inputs: list[Operand], outputs: Shapes) -> list[Operand]:
        length = params["length"]
        n_consts, n_carry = _scan_counts(params["jaxpr"].jaxpr, inputs, outputs)
        consts, carry, xs = inputs[:n_consts], inputs[n_consts:n_consts + n_carry], inputs[n_consts + n_carry:]
        order = range(length)[::-1] if params["reverse"] else range(length)
        cut = [self._rows(x, 0) for x in xs]
        rows: dict[int, list[Operand]] = {}
        for i in order:
            answer = self.run(params["jaxpr"], [*consts, *carry, *(some[i] for some in cut)])
            carry, rows[i] = answer[:n_carry], answer[n_carry:]
        columns = zip(*(rows[i] for i in range(length)), strict=True)
        return [*carry, *(self._written(lambda *rows: [_stacked(rows)], column)[0] for column in columns)]

    def _rows(self, operand: Operand, axis: int) -> list[Operand]:
        """One by one."""
        if isinstance(operand, Constant):
            return [Constant(row) for row in jnp.moveaxis(operand.value, axis, 0)]
        n = operand.shape[axis]
        return self._written(lambda x: [lax.index_in_dim(x, i, axis, keepdims=False) for i in range(n)], [operand])

    def _written(self, f: Callable[..., list[Any]], operands: Sequence[Operand]) -> list[Operand]:
        """What f does to arrays such as these."""
        shapes = [jax.ShapeDtypeStruct(o.shape, o.dtype if isinstance(o, Value) else jnp.result_type(o.value))
                  for o in operands]
        return self.run(jax.make_jaxpr(f)(*shapes), operands)


def _stacked(rows: Sequence[Any]) -> Any:
    return lax.concatenate([lax.broadcast_in_dim(row, (1, *row.shape), range(1, row.ndim + 1)) for row in rows], 0)


def _scan_counts(body: Jaxpr, inputs: Sequence[Operand], outputs: Shapes) -> tuple[int, int]:
    """How many of a scan's operands are constants and how many the carry, in this order; the sequences follow.

    A sequence is what has one axis more outside than inside. JAX 0.11 no longer has these numbers among the parameters.
    """
    def whole(outside: Sequence[Sequence[int]], inside: Sequence[Any]) -> int:
        return sum(len(shape) == len(var.aval.shape) for shape, var in zip(outside, inside, strict=True))

    n_carry = whole([shape for shape, _ in outputs], body.outvars)
    return whole([operand.shape for operand in inputs], body.invars) - n_carry, n_carry


def _unrolled_length(params: Mapping[str, Any]) -> int:
    return params["length"] * _count(params["jaxpr"].jaxpr)


def _count(jaxpr: Jaxpr) -> int:
    """Equations of a jaxpr, with the trips of the scans inside."""
    return sum(_unrolled_length(eqn.params) if eqn.primitive is primitives.scan_p else 1 for eqn in jaxpr.eqns)
