"""A network as a flat list of steps for one example, with what each value depends on.

Calls that hold parameters are opened (jit, remat) or unrolled (short scans); a call with a derivative of its own
(custom_jvp, custom_vjp) stays closed, for its body's derivative may be another one. Calls that parameters do not enter
stay closed as well: nothing inside is of interest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, Var, primitives

from impls.structured.jax.program import Program, Step, bind
from impls.structured.program import Constant, Operand, Value, alive

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


@dataclass
class _Builder:
    steps: list[Step] = field(default_factory=list)
    unknown: dict[Value, Any] = field(default_factory=dict)

    def run(self, closed: ClosedJaxpr, inputs: Sequence[Operand]) -> list[Operand]:
        jaxpr = closed.jaxpr
        env: dict[Var, Operand] = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update((var, self._held(const)) for var, const in zip(jaxpr.constvars, closed.consts, strict=True))

        def read(atom: Any) -> Operand:
            return Constant(atom.val) if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            env.update(zip(eqn.outvars, self._equation(eqn, [read(atom) for atom in eqn.invars]), strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _held(self, const: Any) -> Operand:
        if not isinstance(const, jax.core.Tracer):
            return Constant(const)
        value = Value(tuple(const.shape), const.dtype, frozenset(), True)
        self.unknown[value] = const
        return value

    def _equation(self, eqn: JaxprEqn, inputs: list[Operand]) -> list[Operand]:
        if any(operand.only_parameters for operand in inputs):
            if eqn.primitive.name in ("jit", "closed_call", "core_call", "remat2", "checkpoint"):
                body = eqn.params["jaxpr" if "jaxpr" in eqn.params else "call_jaxpr"]
                return self.run(body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, ()), inputs)
            if eqn.primitive is primitives.scan_p and _unrolled_length(eqn) <= MAX_UNROLLED_STEPS:
                return self._scan(eqn, inputs)
            if eqn.primitive.name == "split":
                return self._split(inputs[0], [int(n) for n in eqn.params["sizes"]], eqn.params["axis"])
            if eqn.primitive.name == "unstack":  # since JAX 0.11
                return self._unstack(inputs[0], eqn.params["axis"])
        avals: list[Any] = [var.aval for var in eqn.outvars]
        if eqn.primitive is primitives.slice_p and tuple(avals[0].shape) == inputs[0].shape:
            return inputs[:1]  # of all: JAX 0.8 writes y[0] so, of one example
        return self.add(eqn.primitive, eqn.params, inputs, [(tuple(aval.shape), aval.dtype) for aval in avals])

    def add(self, primitive: Primitive, params: Mapping[str, Any], inputs: Sequence[Operand],
            outputs: Sequence[tuple[tuple[int, ...], Any]]) -> list[Operand]:
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

    def _scan(self, eqn: JaxprEqn, inputs: list[Operand]) -> list[Operand]:
        length = eqn.params["length"]
        n_consts, n_carry = _scan_counts(eqn)
        consts, carry, xs = inputs[:n_consts], inputs[n_consts:n_consts + n_carry], inputs[n_consts + n_carry:]
        order = range(length)[::-1] if eqn.params["reverse"] else range(length)
        rows: dict[int, list[Operand]] = {}
        for i in order:
            answer = self.run(eqn.params["jaxpr"], [*consts, *carry, *(self._row(x, i) for x in xs)])
            carry, rows[i] = answer[:n_carry], answer[n_carry:]
        columns = zip(*(rows[i] for i in range(length)), strict=True)
        return [*carry, *(self._stack(column) for column in columns)]

    def _row(self, operand: Operand, i: int) -> Operand:
        if isinstance(operand, Constant):
            return Constant(operand.value[i])
        row = self._slice(operand, 0, i, i + 1)
        return self.add(primitives.squeeze_p, {"dimensions": (0,)}, [row], [(operand.shape[1:], operand.dtype)])[0]

    def _split(self, operand: Operand, sizes: Sequence[int], axis: int) -> list[Operand]:
        """The parts one by one: a step with one output is what the rules know."""
        assert isinstance(operand, Value)
        stops = list(accumulate(sizes))
        return [self._slice(operand, axis, stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]

    def _unstack(self, operand: Operand, axis: int) -> list[Operand]:
        assert isinstance(operand, Value)
        shape = (*operand.shape[:axis], *operand.shape[axis + 1:])
        parts = (self._slice(operand, axis, i, i + 1) for i in range(operand.shape[axis]))
        return [self.add(primitives.squeeze_p, {"dimensions": (axis,)}, [part], [(shape, operand.dtype)])[0]
                for part in parts]

    def _slice(self, operand: Value, axis: int, start: int, stop: int) -> Operand:
        before, after = operand.shape[:axis], operand.shape[axis + 1:]
        params = {"start_indices": (*(0 for _ in before), start, *(0 for _ in after)),
                  "limit_indices": (*before, stop, *after), "strides": None}
        return self.add(primitives.slice_p, params, [operand], [((*before, stop - start, *after), operand.dtype)])[0]

    def _stack(self, operands: Sequence[Operand]) -> Operand:
        shape = operands[0].shape
        dtype = operands[0].dtype if isinstance(operands[0], Value) else jnp.result_type(operands[0].value)
        params = {"shape": (1, *shape), "broadcast_dimensions": tuple(range(1, len(shape) + 1)), "sharding": None}
        parts = [self.add(primitives.broadcast_in_dim_p, params, [o], [((1, *shape), dtype)])[0] for o in operands]
        return self.add(primitives.concatenate_p, {"dimension": 0}, parts, [((len(parts), *shape), dtype)])[0]


def _scan_counts(eqn: JaxprEqn) -> tuple[int, int]:
    """How many of a scan's operands are constants and how many the carry, in this order; the sequences follow.

    A sequence is what has one axis more outside than inside. JAX 0.11 no longer has these numbers among the parameters.
    """
    body = eqn.params["jaxpr"].jaxpr

    def whole(outside: Sequence[Any], inside: Sequence[Any]) -> int:
        return sum(len(o.aval.shape) == len(i.aval.shape) for o, i in zip(outside, inside, strict=True))

    n_carry = whole(eqn.outvars, body.outvars)
    return whole(eqn.invars, body.invars) - n_carry, n_carry


def _unrolled_length(eqn: JaxprEqn) -> int:
    return eqn.params["length"] * _count(eqn.params["jaxpr"].jaxpr)


def _count(jaxpr: Jaxpr) -> int:
    """Equations of a jaxpr, with the trips of the scans inside."""
    return sum(_unrolled_length(eqn) if eqn.primitive is primitives.scan_p else 1 for eqn in jaxpr.eqns)
