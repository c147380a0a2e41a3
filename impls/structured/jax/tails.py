"""Where a product's cotangent is separable: g[o, n, s, t, j] = c[o, s, j] · d[n, s, t, j].

So it is where y goes through operations on single numbers (an activation function, a normalisation by known
statistics, a sum with what is no function of y) and from then on, up to the outputs, only through linear operations
whose coefficients no example has a part in, and which treat all positions alike: a mean over all of them, say, and a
dense layer. Then d is the derivative of the first part and c that of the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from impls.structured.jax.products import Use
from impls.structured.jax.trace import Constant, Operand, Program, Step, Value
from impls.structured.jax.views import rearranged, scalar_factor
from impls.structured.tails import all_lead_to, behind, linear_and_near, readers_of

CALLS = ("jit", "closed_call", "core_call")

WITH_DERIVATIVE = ("custom_jvp_call", "custom_vjp_call")

TAKING = ("reshape", "transpose", "squeeze", "expand_dims", "rev", "slice", "broadcast_in_dim", "copy", "copy_p")

LINEAR = frozenset((*TAKING, "reduce_sum", "neg", "cumsum", "reduce_window_sum", "convert_element_type", "name",
                    "optimization_barrier"))
"""In their only array."""

ADDING = ("add", "sub", "add_any", "concatenate")
"""Linear in each operand, whatever the others are."""

BILINEAR = ("mul", "dot_general")

NUMBER_BY_NUMBER = frozenset((
    "add", "sub", "mul", "div", "rem", "neg", "add_any", "max", "min", "abs", "sign", "floor", "ceil", "round",
    "exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "sin", "cos", "tan", "asin", "acos", "atan", "atan2",
    "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "sqrt", "rsqrt", "cbrt",
    "square", "integer_pow", "pow", "select_n", "clamp", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor",
    "is_finite", "convert_element_type", "copy", "copy_p", "name",
))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tail:
    """`end`: where the linear operations begin. `order`: the place in it of each number of y."""

    end: Value
    order: np.ndarray


class Tails:
    """Finds the tails of a program's products."""

    def __init__(self, program: Program) -> None:
        opened = _Opened(program)
        self.steps, self.output, self.shown = opened.steps, opened.output, opened.shown
        self.readers = readers_of(self.steps, Value, _differentiated)
        self.linear, self.near = linear_and_near(self.steps, self.output, self.readers, _is_linear, _number_by_number)

    def find(self, use: Use) -> Tail | None:
        """What lies behind this product; None where its cotangent is not known to be separable."""
        labels = _labels(use) if use.y in self.near else None
        if labels is None:
            return None
        reached = self._reached(use.y)
        order = list(reached)
        for end in reversed([value for value in order if value in self.linear and value in self.shown]):
            if all_lead_to(end, order, self.readers):
                entries = reached[end]
                return Tail(self.shown[end], entries.ravel().argsort()) if self._alike(end, labels[entries]) else None
        return None

    def _reached(self, y: Value) -> dict[Value, np.ndarray]:
        """In order, the values each of whose numbers is a function of one number of y; and which one."""
        reached = {y: np.arange(math.prod(y.shape), dtype=np.int32).reshape(y.shape)}
        after = next(i for i, step in enumerate(self.steps) if y in step.outputs)
        for step in self.steps[after + 1:]:
            entries = [reached[operand] for operand in step.inputs if isinstance(operand, Value) and operand in reached]
            if not entries or not _number_by_number(step) or step.outputs[0].dtype != y.dtype:
                continue
            if _reorders(step):
                reached[step.outputs[0]] = rearranged(step, entries[0])
            elif all(e.shape == step.outputs[0].shape and (e == entries[0]).all() for e in entries):
                reached[step.outputs[0]] = entries[0]
        return reached

    def _alike(self, value: Value, labels: np.ndarray) -> bool:
        """Whether all its numbers with the same label have the same cotangent."""
        if np.unique(labels).size == labels.size:
            return True
        readers = self.readers[value]
        return value is not self.output and all(self._treats_alike(step, value, labels) for step in readers)

    def _treats_alike(self, step: Step, value: Value, labels: np.ndarray) -> bool:
        y = step.outputs[0]
        if _reorders(step):
            return self._alike(y, rearranged(step, labels))
        if labels.shape == y.shape and (step.name in ("add", "sub", "add_any", "convert_element_type")
                                        or scalar_factor(step, step.inputs.index(value)) is not None):
            return self._alike(y, labels)
        if step.name != "reduce_sum":
            return False
        axes = step.params["axes"]
        kept = [axis for axis in range(labels.ndim) if axis not in axes]
        rows = labels.transpose(*kept, *axes).reshape(math.prod(labels.shape[axis] for axis in kept), -1)
        if _each_in_one_row(rows):
            return True
        return bool((rows == rows[:, :1]).all()) and self._alike(y, rows[:, 0].reshape(y.shape))


class Linear:
    """The operations from `end` to the outputs, which are linear with coefficients of the parameters alone."""

    def __init__(self, program: Program, end: Value) -> None:
        self.program, self.end = program, end
        self.steps = behind(program, end)

    def cotangents(self, parameters: Sequence[Any]) -> Any:
        """Of `end`, the same for all examples: (O, …)."""
        outputs, backward = jax.vjp(lambda end: self._run(parameters, end), jnp.zeros(self.end.shape, self.end.dtype))
        return jax.vmap(backward)(jnp.eye(outputs.size, dtype=outputs.dtype))[0]

    def _run(self, parameters: Sequence[Any], end: Any) -> Any:
        env: dict[Value, Any] = {**dict(zip(self.program.parameters, parameters, strict=True)), self.end: end}

        def read(operand: Operand) -> Any:
            if isinstance(operand, Constant):
                return operand.value
            # what depends on the example and not on `end` is only ever added
            return env[operand] if operand in env else jnp.zeros(operand.shape, operand.dtype)

        for step in self.steps:
            env.update(zip(step.outputs, step(*map(read, step.inputs)), strict=True))
        return read(self.program.output)


class _Opened:
    """The program with its calls replaced by what they do. `shown`: for its values those of the program itself."""

    def __init__(self, program: Program) -> None:
        self.steps: list[Step] = []
        self.shown: dict[Operand, Value] = {}
        within: dict[Operand, Operand] = {}
        for step in program.steps:
            inputs = [within.get(operand, operand) for operand in step.inputs]
            outputs = self._open(step.primitive, step.params, inputs, step.outputs)
            for value, operand in zip(step.outputs, outputs, strict=True):
                within[value] = operand
                self.shown.setdefault(operand, value)
        self.output = within.get(program.output, program.output)

    def _open(self, primitive: Any, params: Any, inputs: Sequence[Operand], outputs: Sequence[Value]) -> list[Operand]:
        body = _body(params) if primitive.name in CALLS else None
        if body is None:
            self.steps.append(Step(primitive, params, tuple(inputs), tuple(outputs)))
            return list(outputs)
        env: dict[Var, Operand] = dict(zip(body.jaxpr.invars, inputs, strict=True))
        env.update((var, Constant(const)) for var, const in zip(body.jaxpr.constvars, body.consts, strict=True))

        def read(atom: Any) -> Operand:
            return Constant(atom.val) if isinstance(atom, Literal) else env[atom]

        for eqn in body.jaxpr.eqns:
            operands = [read(atom) for atom in eqn.invars]
            made = self._open(eqn.primitive, eqn.params, operands, _values(eqn, operands))
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


def _differentiated(step: Step) -> bool:
    """Whether gradients flow through it: through real and complex numbers alike."""
    return any(value.parameters and jnp.issubdtype(value.dtype, jnp.inexact) for value in step.outputs)


def _number_by_number(step: Step) -> bool:
    """Whether each number that it gives is a function of one number of each array that it reads."""
    if len(step.outputs) != 1:
        return False
    if step.name in WITH_DERIVATIVE:
        return _derivative_is_number_by_number(step)
    return step.name in NUMBER_BY_NUMBER or _reorders(step)


def _derivative_is_number_by_number(step: Step) -> bool:
    """Its derivative is its author's, and may be another than that of what it computes."""
    (y,) = step.outputs
    arrays = {i: operand for i, operand in enumerate(step.inputs) if isinstance(operand, Value)}
    if any(operand.shape != y.shape for operand in arrays.values()):
        return False

    def run(*values: Any) -> Any:
        known = {i: operand.value for i, operand in enumerate(step.inputs) if isinstance(operand, Constant)}
        known.update(zip(arrays, values, strict=True))
        return step(*(known[i] for i in range(len(step.inputs))))[0]

    def backward(cotangent: Any, values: list[Any]) -> Any:
        return jax.vjp(run, *values)[1](cotangent)

    inputs = [jax.ShapeDtypeStruct(operand.shape, operand.dtype) for operand in arrays.values()]
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


def _reorders(step: Step) -> bool:
    """Whether each number stays one number."""
    if step.name not in TAKING or len(step.inputs) != 1:
        return False
    return math.prod(step.inputs[0].shape) == math.prod(step.outputs[0].shape)


def _is_linear(step: Step, value: Value) -> bool:
    """In this operand, with coefficients that no example has a part in."""
    if any(y.dtype != value.dtype for y in step.outputs):
        return False
    if step.name in ADDING:
        return True
    if step.name in LINEAR:
        return len(step.inputs) == 1
    places = [i for i, operand in enumerate(step.inputs) if operand is value]
    others = [operand for operand in step.inputs if operand is not value]
    if len(places) > 1 or any(operand.on_example for operand in others):
        return False
    return step.name in BILINEAR or (step.name in ("div", "conv_general_dilated") and places == [0])


def _labels(use: Use) -> np.ndarray | None:
    """For each number of y its (s, j), one number for both; None where the product is not all of y."""
    S, T, _, J = use.sizes
    size = math.prod(use.y.shape)
    if size != S * T * J:
        return None
    places = np.asarray(use.arrange(np.arange(size, dtype=np.int32).reshape(use.y.shape)))
    labels = np.empty(size, np.int32)
    labels[places.ravel()] = np.broadcast_to(np.arange(S * J, dtype=np.int32).reshape(S, 1, J), (S, T, J)).ravel()
    return labels


def _each_in_one_row(rows: np.ndarray) -> bool:
    """Whether all numbers with the same label are in the same row."""
    where = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
    last = np.zeros(int(rows.max()) + 1, np.int64)
    last[rows] = where
    return bool((last[rows] == where).all())
