"""Which rule covers which parameter: the program's uses, grouped, and which biases share a product's cotangent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import torch

from impls.structured import planner
from impls.structured.torch.products import Use, find_use
from impls.structured.torch.program import Program, Step, Value
from impls.structured.torch.tails import Tail, Tails
from impls.structured.torch.views import View, extend, scalar_factor


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

    @cached_property
    def product(self) -> planner.Product:
        S, _, I, J = self.uses[0].sizes
        T, lookup = sum(use.sizes[1] for use in self.uses), self.uses[0].rule == "embedding"
        return planner.Product(S, T, I, J, lookup, top=self.top is not None, separable=self.tail is not None)


@dataclass(frozen=True, eq=False)
class Analysis:
    """For each parameter, what the planner needs to know and the groups behind its products."""

    program: Program
    parameters: tuple[planner.Parameter, ...]
    groups: tuple[tuple[Group, ...], ...]


@dataclass
class _Found:
    uses: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[int, str] = field(default_factory=dict)


def analyse(program: Program, names: Sequence[str], *, carry: bool = True) -> Analysis:
    """Find a rule for each parameter; `names` are for people. `carry`: products count the biases added to them."""
    found, paths, tails = _find(program), _Paths(program), Tails(program)
    groups: list[tuple[Group, ...]] = []
    for i in range(len(names)):
        grouped = () if i in found.reasons else _grouped(found.uses[i], paths, tails)
        if not _crossable(grouped):
            found.reasons[i], grouped = "enters several products that overlap in part", ()
        groups.append(grouped)
    carriers = _carry_biases(groups, paths) if carry else {}
    parameters = tuple(_parameter(i, names, program, found, groups[i], carriers) for i in range(len(names)))
    return Analysis(program, parameters, tuple(groups))


def _find(program: Program) -> _Found:
    found = _Found()
    shown = {value: View(i, value.shape, value.shape) for i, value in enumerate(program.parameters)}
    for step in program.steps:
        views = [shown[value] for value in step.inputs if isinstance(value, Value) and value in shown]
        if not any(math.prod(view.shape) for view in views):
            continue
        first = step.inputs[0]
        answer = extend(views[0], step) if isinstance(first, Value) and first in shown else None
        if step.name == "detach":
            continue
        if answer is not None:
            shown[step.outputs[0]] = answer
        else:
            _visit(step, shown, found)
    if isinstance(program.output, Value) and program.output in shown:
        found.reasons[shown[program.output].parameter] = "is itself an output"
    return found


def _visit(step: Step, shown: dict[Value, View], found: _Found) -> None:
    entering = {
        position: shown[value]
        for position, value in enumerate(step.inputs)
        if isinstance(value, Value) and value in shown
    }
    for position, view in entering.items():
        if step.name in ("mul", "div") and not step.outputs[0].on_example:
            found.reasons[view.parameter] = f"enters {step.name} before it meets the example"
            continue
        use = find_use(view, position, step)
        if isinstance(use, str):
            found.reasons[view.parameter] = use
        else:
            found.uses[view.parameter].append(use)


class _Paths:
    """Where each value's cotangent equals a number times that of a later value, because nothing else reads it."""

    def __init__(self, program: Program) -> None:
        self.output = program.output
        self.readers: dict[Value, list[Step]] = defaultdict(list)
        for step in program.steps:
            for operand in step.inputs:
                if isinstance(operand, Value):
                    self.readers[operand].append(step)

    def follow(self, value: Value) -> Iterator[tuple[Value, float]]:
        """(value, 1), then the later values with cotangent(value) = number × cotangent(later value), reshaped."""
        number = 1.0
        yield value, number
        while value is not self.output and len(self.readers[value]) == 1:
            (step,) = self.readers[value]
            factor = _passing_factor(step, value)
            if factor is None or step.outputs[0].dtype != value.dtype:
                return
            value, number = step.outputs[0], number * factor
            yield value, number

    def top(self, use: Use) -> float | None:
        """The number that y is multiplied by on its way to the output, where nothing else happens to it."""
        for value, number in self.follow(use.y):
            if value is self.output and not self.readers[value] and use.covers_y:
                return number
        return None


def _passing_factor(step: Step, value: Value) -> float | None:
    same_size = math.prod(value.shape) == math.prod(step.outputs[0].shape)
    if step.name in ("add", "sub") and value.shape == step.outputs[0].shape:
        return -1.0 if step.name == "sub" and step.args[0] is not value else 1.0
    if step.name in ("reshape", "squeeze", "unsqueeze") and same_size:
        return 1.0
    return scalar_factor(step)


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
    if len(uses) != 2 or not all(use.rule in ("dense", "embedding") for use in uses):
        return False
    first, second = uses
    return (
        first.view.key == second.view.key
        and first.roles[0] == second.roles[0] == ()
        and first.roles[1:] == second.roles[:0:-1]
    )


def has_cross_terms(groups: Sequence[Group]) -> bool:
    """Whether the groups of a parameter are a matrix and the same matrix transposed."""
    return _swapped([group.uses[0] for group in groups])


def _crossable(groups: tuple[Group, ...]) -> bool:
    """Whether the groups' cross terms are known: none, because they share no entry, or those of a matrix and its
    transpose."""
    if len(groups) < 2 or has_cross_terms(groups):
        return True
    entries = [group.uses[0].view.entries().flatten() for group in groups]
    return not any(bool(torch.isin(a, b).any()) for a, b in combinations(entries, 2))


def _carry_biases(groups: list[tuple[Group, ...]], paths: _Paths) -> dict[int, int]:
    """Let products count the biases added to them; gives for each such bias the parameter that carries (a part of)
    it."""
    carriers: dict[int, int] = {}
    for i in range(len(groups)):
        for bias in groups[i]:
            host = None if bias.uses[0].rule != "bias" else _host(groups, bias, paths)
            if host is None:
                continue
            j, k, values = host
            of_host = groups[j]
            grown = replace(of_host[k], carried=(*of_host[k].carried, (i, values)))
            groups[j] = (*of_host[:k], grown, *of_host[k + 1 :])
            groups[i] = tuple(group for group in groups[i] if group is not bias)
            carriers[i] = j
    return carriers


def _host(groups: list[tuple[Group, ...]], bias: Group, paths: _Paths) -> tuple[int, int, tuple[float, ...]] | None:
    """The product that can count this bias: its parameter, its number there, and the bias's input value at each use."""
    for j, of_parameter in enumerate(groups):
        for k, group in enumerate(of_parameter):
            if group.uses[0].rule in ("dense", "convolution", "scale") and not has_cross_terms(of_parameter):
                values = _carries(group, bias.uses, paths)
                if values is not None:
                    return j, k, values
    return None


def _carries(group: Group, biases: Sequence[Use], paths: _Paths) -> tuple[float, ...] | None:
    """For each use of the group, the input value that makes this bias a part of the product; None where it is none."""
    if len(biases) != len(group.uses):
        return None
    by_sum = {bias.y: bias for bias in biases}
    values: list[float] = []
    for use in group.uses:
        hit = next(((by_sum[value], number) for value, number in paths.follow(use.y) if value in by_sum), None)
        if hit is None or hit[1] == 0 or not _same_at_all_positions(hit[0], use):
            return None
        bias, number = hit
        values.append(bias.scale / number)
    return tuple(values)


def _same_at_all_positions(bias: Use, use: Use) -> bool:
    """Whether each entry of the bias meets exactly one (s, j) of the product, at all of its positions."""
    if not (bias.covers_y and use.covers_y):
        return False
    entries = use.arrange(bias.view.entries().expand(bias.y.shape).reshape(use.y.shape))
    once = entries[:, :1]
    return bool((entries == once).all()) and once.unique().numel() == once.numel()


def _parameter(
    i: int, names: Sequence[str], program: Program, found: _Found, groups: tuple[Group, ...], carriers: dict[int, int]
) -> planner.Parameter:
    size = math.prod(program.parameters[i].shape)
    if i in found.reasons:
        return planner.Parameter(names[i], size, rule=f"fallback: {found.reasons[i]}")
    if groups:
        products = tuple(group.product for group in groups)
        return planner.Parameter(names[i], size, groups[0].uses[0].rule, products, transposed=has_cross_terms(groups))
    if i in carriers:
        return planner.Parameter(names[i], size, "bias", carried_by=names[carriers[i]])
    return planner.Parameter(names[i], size, rule="unused", used=False)
