"""Which rule covers which parameter: the program's uses, grouped, and what shares its cotangent with what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.loops import loops
from impls.structured import planner
from impls.structured.jax.products import Use, find_use
from impls.structured.jax.tails import Tail, Tails
from impls.structured.jax.trace import Program, Step, Value
from impls.structured.jax.views import View, concatenated, extend, indices, scalar_factor

ADDING = ("add", "add_any", "sub")
ELEMENTWISE = {"add": "bias", "add_any": "bias", "sub": "bias", "mul": "scale", "div": "scale"}
RESHAPING = ("reshape", "squeeze", "expand_dims")


@dataclass(frozen=True, eq=False)
class Bias:
    """A view of a parameter added to activations; `sign` is that of the sum."""

    view: View
    step: Step
    sign: float


@dataclass(frozen=True, eq=False)
class Group:
    """Uses of one parameter with the same role, laid end to end along the positions.

    `carried`: the bias parameters that are one more input of this product, with the value of that input at each use.
    """

    uses: tuple[Use, ...]
    top: float | None = None
    """Where y is the output up to its shape: what y is multiplied by on the way."""
    carried: tuple[tuple[int, tuple[float, ...]], ...] = ()
    tail: Tail | None = None
    """Where its cotangent is separable: what lies behind y."""

    @property
    def product(self) -> planner.Product:
        S, _, I, J = self.uses[0].sizes
        T, lookup = sum(use.sizes[1] for use in self.uses), self.uses[0].rule == "embedding"
        return planner.Product(S, T, I, J, lookup, top=self.top is not None, separable=self.tail is not None)


@dataclass(frozen=True, eq=False)
class Analysis:
    """For each parameter, what the planner needs to know and the groups behind its products.

    `forward`: parameters that only forward-mode differentiation reaches (a loop of unknown length lies behind them).
    """

    program: Program
    parameters: tuple[planner.Parameter, ...]
    groups: tuple[tuple[Group, ...], ...]
    forward: frozenset[int]


@dataclass
class _Found:
    uses: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    biases: dict[int, list[Bias]] = field(default_factory=lambda: defaultdict(list))
    scales: set[int] = field(default_factory=set)
    reasons: dict[int, str] = field(default_factory=dict)
    forward: set[int] = field(default_factory=set)


def analyse(program: Program, names: Sequence[str]) -> Analysis:
    """Find a rule for each parameter; `names` are for people."""
    found = _find(program)
    paths, tails = _Paths(program), Tails(program)
    groups: list[tuple[Group, ...]] = []
    for i, parameter in enumerate(program.parameters):
        uses, other = found.uses[i], found.biases[i] or i in found.scales
        if uses and other:
            found.reasons.setdefault(i, "enters a product and a sum")
        grouped = () if i in found.reasons else _grouped(uses, paths, tails)
        if grouped is None or not _crossable(grouped, parameter):
            found.reasons[i], grouped = "enters several products that overlap in part", ()
        groups.append(grouped)
    hosts = _carry_biases(found, groups, program, paths)
    parameters = tuple(_parameter(i, names, program, found, groups[i], hosts) for i in range(len(names)))
    return Analysis(program, parameters, tuple(groups), frozenset(found.forward))


def _find(program: Program) -> _Found:
    found = _Found()
    shown: dict[Value, tuple[View, ...]] = {
        value: (View(i, value.shape),) for i, value in enumerate(program.parameters)}
    for step in program.steps:
        views = [shown.get(operand) if isinstance(operand, Value) else None for operand in step.inputs]
        if loops(step.primitive.name, step.params):
            found.forward.update(*(operand.parameters for operand in step.inputs))
        if any(view is not None for view in views):
            _visit(step, views, shown, found)
    if isinstance(program.output, Value) and program.output in shown:
        for view in shown[program.output]:
            found.reasons[view.parameter] = "is itself an output"
    for i in found.forward:
        found.reasons[i] = "lies before a loop of unknown length"
    return found


def _visit(step: Step, views: list[tuple[View, ...] | None], shown: dict[Value, tuple[View, ...]],
           found: _Found) -> None:
    positions = [i for i, view in enumerate(views) if view is not None]
    answer = concatenated(step.inputs, views, step) if step.name == "concatenate" else None
    if answer is None and len(positions) == 1:
        (position,) = positions
        answer = extend(views[position] or (), position, step)
    if answer is not None:
        shown[step.outputs[0]] = answer
        return
    for position in positions:
        for view in views[position] or ():
            _use(view, position, step, len(positions), found)


def _use(view: View, position: int, step: Step, n_views: int, found: _Found) -> None:
    i = view.parameter
    if n_views > 1 or any(o.only_parameters for k, o in enumerate(step.inputs) if k != position):
        found.reasons[i] = f"enters {step.name} together with other parameters"
    elif jnp.issubdtype(step.outputs[0].dtype, jnp.complexfloating):  # a product may mix dtypes: real times complex
        found.reasons[i] = f"enters {step.name} with complex numbers"
    elif step.name in ADDING and view.window is None:
        found.biases[i].append(Bias(view, step, -1.0 if step.name == "sub" and position == 1 else 1.0))
    elif step.name == "mul" or (step.name == "div" and position == 0):
        found.scales.add(i)
    else:
        use = find_use(view, position, step)
        if isinstance(use, str):
            found.reasons[i] = use
        else:
            found.uses[i].append(use)


class _Paths:
    """Where each value's cotangent equals a number times that of a later value, because nothing else reads it."""

    def __init__(self, program: Program) -> None:
        self.output = program.output
        self.readers: dict[Value, list[tuple[Step, int]]] = defaultdict(list)
        for step in program.steps:
            for position, operand in enumerate(step.inputs):
                if isinstance(operand, Value):
                    self.readers[operand].append((step, position))

    def follow(self, value: Value) -> Iterator[tuple[Value, float]]:
        """(value, 1), then the later values with cotangent(value) = number × cotangent(later value), reshaped."""
        number = 1.0
        yield value, number
        while value is not self.output and len(self.readers[value]) == 1:
            ((step, position),) = self.readers[value]
            factor = _passing_factor(step, position)
            if factor is None or step.outputs[0].dtype != value.dtype:
                return
            value, number = step.outputs[0], number * factor
            yield value, number

    def top(self, use: Use) -> float | None:
        """The number that y is multiplied by on its way to the output, where nothing else happens to it."""
        for value, number in self.follow(use.y):
            if value is self.output and not self.readers[value]:
                return number
        return None


def _passing_factor(step: Step, position: int) -> float | None:
    if step.name in ADDING and step.inputs[position].shape == step.outputs[0].shape:
        return -1.0 if step.name == "sub" and position == 1 else 1.0
    same_size = int(np.prod(step.inputs[position].shape)) == int(np.prod(step.outputs[0].shape))
    if step.name in RESHAPING and len(step.inputs) == 1 and same_size:
        return 1.0
    if step.name == "transpose":  # as `vmap` puts behind a matrix times a vector: only axes of length 1 move
        long = [axis for axis in step.params["permutation"] if step.inputs[0].shape[axis] > 1]
        return 1.0 if long == sorted(long) else None
    return scalar_factor(step, position)


def _grouped(uses: list[Use], paths: _Paths, tails: Tails) -> tuple[Group, ...]:
    by_role: dict[object, list[Use]] = defaultdict(list)
    for use in uses:
        by_role[use.rule, use.view.key, use.roles, use.sizes[0]].append(use)
    alone = len(by_role) == 1 or not _swapped([group[0] for group in by_role.values()])
    groups: list[Group] = []
    for group in by_role.values():
        top = paths.top(group[0]) if len(group) == 1 and alone else None
        tail = tails.find(group[0]) if len(group) == 1 and alone and top is None else None
        groups.append(Group(tuple(group), top=top, tail=tail))
    return tuple(groups)


def _swapped(uses: Sequence[Use]) -> bool:
    """Two uses of one whole parameter, as a matrix and as its transpose."""
    if len(uses) != 2:
        return False
    first, second = uses
    return (first.view.key == second.view.key and first.view.window is None and second.view.window is None
            and first.roles[0] == second.roles[0] == () and first.roles[1:] == second.roles[:0:-1])


def _has_cross_terms(groups: tuple[Group, ...]) -> bool:
    return _swapped([group.uses[0] for group in groups])


def _crossable(groups: tuple[Group, ...], parameter: Value) -> bool:
    """Whether the terms between groups are known: none (no entry is shared), or those of a matrix and its transpose."""
    first = [group.uses[0] for group in groups]
    if len(first) < 2 or _swapped(first):
        return True
    entries = [indices(use.view, parameter).ravel() for use in first]
    return all(np.intersect1d(a, b).size == 0 for a, b in combinations(entries, 2))


def _carry_biases(found: _Found, groups: list[tuple[Group, ...]], program: Program, paths: _Paths) -> dict[int, int]:
    """Let products count the biases added to them; gives for each such bias the parameter that carries it."""
    carriers: dict[int, int] = {}
    for i, biases in found.biases.items():
        if i in found.reasons or i in found.scales or not biases:
            continue
        for j, of_parameter in enumerate(groups):
            if _has_cross_terms(of_parameter):
                continue  # the planner may still take that parameter's gradient directly
            at = next((k for k, group in enumerate(of_parameter)
                       if _carries(group, biases, program.parameters[i], paths) is not None), None)
            if at is not None:
                group = of_parameter[at]
                values = _carries(group, biases, program.parameters[i], paths) or ()
                grown = replace(group, carried=(*group.carried, (i, values)))
                groups[j] = (*of_parameter[:at], grown, *of_parameter[at + 1:])
                carriers[i] = j
                break
    return carriers


def _carries(group: Group, biases: list[Bias], parameter: Value, paths: _Paths) -> tuple[float, ...] | None:
    """For each use of the group, the input value that makes this bias a part of the product; None where it is none."""
    if len(biases) != len(group.uses) or group.uses[0].rule == "embedding":
        return None
    by_sum = {bias.step.outputs[0]: bias for bias in biases}
    values: list[float] = []
    for use in group.uses:
        hit = next(((by_sum[value], number) for value, number in paths.follow(use.y) if value in by_sum), None)
        if hit is None or not _same_at_all_positions(hit[0], use, parameter):
            return None
        bias, number = hit
        values.append(bias.sign * bias.view.scale / number)
    return tuple(values)


def _same_at_all_positions(bias: Bias, use: Use, parameter: Value) -> bool:
    """Whether each entry of the bias meets exactly one (s, j) of the product, at all of its positions."""
    total = bias.step.outputs[0].shape
    if len(bias.view.shape) != len(total) or int(np.prod(total)) != int(np.prod(use.y.shape)):
        return False
    entries = use.arrange(np.broadcast_to(indices(bias.view, parameter), total).reshape(use.y.shape))
    once = entries[:, :1]
    return bool((entries == once).all()) and np.unique(once).size == once.size


def _parameter(i: int, names: Sequence[str], program: Program, found: _Found, groups: tuple[Group, ...],
               carriers: dict[int, int]) -> planner.Parameter:
    size = int(np.prod(program.parameters[i].shape))
    if groups:
        return planner.Parameter(names[i], size, groups[0].uses[0].rule, tuple(group.product for group in groups),
                                 transposed=_has_cross_terms(groups))
    if i in found.reasons:
        return planner.Parameter(names[i], size, rule=f"fallback: {found.reasons[i]}")
    if found.biases[i] or i in found.scales:
        carrier = names[carriers[i]] if i in carriers else None
        return planner.Parameter(names[i], size, rule="scale" if i in found.scales else "bias", carried_by=carrier)
    return planner.Parameter(names[i], size, rule="unused", used=False)
