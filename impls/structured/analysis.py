"""Which rule covers which parameter: the program's uses, grouped, and which biases share a product's cotangent.

Written once for both frameworks: a half traces its program, says in its `rules.RuleBook` how operations are named and
read, and carries out what is found here by its passes and its contraction.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from impls.programs.program import Program, Step, Value
from impls.structured import planner
from impls.structured.rules import RuleBook
from impls.structured.tails import Tail, Tails
from impls.structured.uses import Use, View
from impls.structured.views import concatenated, extended, scalar_factor

HOSTS = ("dense", "convolution", "scale")
"""Rules of products that can count a bias as one more input."""


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

    @property
    def alone(self) -> bool:
        """No product is made of it; see `Use`."""
        return self.uses[0].alone

    @property
    def carried_inputs(self) -> np.ndarray:
        """(B, T): the values of the inputs that stand for the B carried biases."""
        repeats = [use.sizes[1] for use in self.uses]
        return np.array([np.repeat(values, repeats) for _, values in self.carried])


@dataclass(frozen=True, eq=False)
class Analysis:
    """For each parameter, what the planner needs to know and the groups behind its products.

    `forward`: parameters that only forward-mode differentiation reaches (a loop of unknown length lies behind them).
    """

    program: Program[Any]
    parameters: tuple[planner.Parameter, ...]
    groups: tuple[tuple[Group, ...], ...]
    forward: frozenset[int]


@dataclass
class _Found:
    uses: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[int, str] = field(default_factory=dict)
    forward: set[int] = field(default_factory=set)


def analyse(program: Program[Any], names: Sequence[str], book: RuleBook, *, carry: bool = True) -> Analysis:
    """Find a rule for each parameter; `names` are for people. `carry`: products count the biases added to them."""
    found, paths, tails = _find(program, book), _Paths(program, book), Tails(program, book)
    groups: list[tuple[Group, ...]] = []
    for i in range(len(names)):
        if len({use.alone for use in found.uses[i]}) > 1:
            found.reasons.setdefault(i, "enters a product and a sum")
        grouped = () if i in found.reasons else _grouped(found.uses[i], paths, tails)
        if not _crossable(grouped):
            found.reasons[i], grouped = "enters several products that overlap in part", ()
        groups.append(grouped)
    carriers = _carry_biases(groups, paths) if carry else {}
    parameters = tuple(_parameter(i, names, program, found, groups[i], carriers) for i in range(len(names)))
    products = tuple(tuple(group for group in some if not group.alone) for some in groups)
    return Analysis(program, parameters, products, frozenset(found.forward))


def _find(program: Program[Any], book: RuleBook) -> _Found:
    found = _Found()
    shown = {value: (View(i, value.shape, value.shape),) for i, value in enumerate(program.parameters)}
    for step in program.steps:
        views = [shown.get(operand) if isinstance(operand, Value) else None for operand in step.inputs]
        if book.forward_only(step):
            found.forward.update(*(operand.parameters for operand in step.inputs))
        # what is empty has no gradient
        if step.name not in book.stops and any(math.prod(view.shape) for some in views for view in some or ()):
            _visit(step, views, shown, found, book)
    if isinstance(program.output, Value) and program.output in shown:
        for view in shown[program.output]:
            found.reasons[view.parameter] = "is itself an output"
    for i in found.forward:
        found.reasons[i] = "lies before a loop of unknown length"
    return found


def _visit(step: Step, views: list[tuple[View, ...] | None], shown: dict[Value, tuple[View, ...]], found: _Found,
           book: RuleBook) -> None:
    entering = {position: some for position, some in enumerate(views) if some is not None}
    axis = book.concatenation(step)
    answer = None if axis is None else concatenated(step.inputs, views, step, axis)
    if answer is None and len(entering) == 1:
        ((position, some),) = entering.items()
        answer = extended(some, position, step, book)
    if answer is not None:
        shown[step.outputs[0]] = answer
        return
    for position, some in entering.items():
        for view in some:
            use = book.find_use(view, position, step)
            if isinstance(use, str):
                found.reasons[view.parameter] = use
            else:
                found.uses[view.parameter].append(use)


class _Paths:
    """Where each value's cotangent equals a number times that of a later value, because nothing else reads it."""

    def __init__(self, program: Program[Any], book: RuleBook) -> None:
        self.output, self.book = program.output, book
        self.readers: dict[Value, list[tuple[Step, int]]] = defaultdict(list)
        for step in program.steps:
            for position, operand in enumerate(step.inputs):
                if isinstance(operand, Value):
                    self.readers[operand].append((step, position))
        self.followed: dict[Value, Sequence[tuple[Value, float]]] = {}

    def follow(self, value: Value) -> Sequence[tuple[Value, float]]:
        """(value, 1), then the later values with cotangent(value) = number × cotangent(later value), reshaped."""
        if value not in self.followed:
            self.followed[value] = (*self._follow(value),)
        return self.followed[value]

    def _follow(self, value: Value) -> Iterator[tuple[Value, float]]:
        number = 1.0
        yield value, number
        while value is not self.output and len(self.readers[value]) == 1:
            ((step, position),) = self.readers[value]
            factor = self._factor(step, position)
            if factor is None or step.outputs[0].dtype != value.dtype:
                return
            value, number = step.outputs[0], number * factor
            yield value, number

    def _factor(self, step: Step, position: int) -> float | None:
        if step.name in self.book.sums and step.inputs[position].shape == step.outputs[0].shape:
            return -1.0 if step.name == "sub" and position == 1 else 1.0
        return 1.0 if self.book.keeps_order(step) else scalar_factor(step, position, self.book)

    def top(self, use: Use) -> float | None:
        """The number that y is multiplied by on its way to the output, where nothing else happens to it."""
        for value, number in self.follow(use.y):
            if value is self.output and not self.readers[value] and use.covers_y:
                return number
        return None


def _grouped(uses: list[Use], paths: _Paths, tails: Tails) -> tuple[Group, ...]:
    if any(use.alone for use in uses):
        return (Group(tuple(uses)),)
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
    if len(uses) != 2 or any(use.rule not in ("dense", "embedding") or use.view.window is not None for use in uses):
        return False
    first, second = uses
    return (first.view.key == second.view.key and first.roles[0] == second.roles[0] == ()
            and first.roles[1:] == second.roles[:0:-1])


def _has_cross_terms(groups: Sequence[Group]) -> bool:
    """Whether the groups of a parameter are a matrix and the same matrix transposed."""
    return _swapped([group.uses[0] for group in groups])


def _crossable(groups: tuple[Group, ...]) -> bool:
    """Whether the groups' cross terms are known: none, because they share no entry, or those of a matrix and its
    transpose."""
    if len(groups) < 2 or _has_cross_terms(groups):
        return True
    entries = [group.uses[0].view.entries().ravel() for group in groups]
    return all(np.intersect1d(a, b).size == 0 for a, b in combinations(entries, 2))


def _carry_biases(groups: list[tuple[Group, ...]], paths: _Paths) -> dict[int, int]:
    """Let products count the biases added to them; gives for each such bias the parameter that carries (a part of)
    it."""
    carriers: dict[int, int] = {}
    for i in range(len(groups)):
        for bias in groups[i]:
            host = _host(groups, bias, paths) if all(use.rule == "bias" for use in bias.uses) else None
            if host is None:
                continue
            j, k, values = host
            of_host = groups[j]
            grown = replace(of_host[k], carried=(*of_host[k].carried, (i, values)))
            groups[j] = (*of_host[:k], grown, *of_host[k + 1:])
            groups[i] = tuple(group for group in groups[i] if group is not bias)
            carriers[i] = j
    return carriers


def _host(groups: list[tuple[Group, ...]], bias: Group, paths: _Paths) -> tuple[int, int, tuple[float, ...]] | None:
    """The product that can count this bias: its parameter, its number there, and the bias's input value at each use."""
    for j, of_parameter in enumerate(groups):
        for k, group in enumerate(of_parameter):
            # of a matrix and its transpose the planner may still take the gradient directly
            if group.uses[0].rule in HOSTS and not group.alone and not _has_cross_terms(of_parameter):
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
        if hit is None or hit[1] == 0 or not _same_at_all_positions(hit[0], use, paths.book):
            return None
        bias, number = hit
        values.append(bias.scale / number)
    return tuple(values)


def _same_at_all_positions(bias: Use, use: Use, book: RuleBook) -> bool:
    """Whether each entry of the bias meets exactly one (s, j) of the product, at all of its positions."""
    if not (bias.covers_y and use.covers_y):
        return False
    entries = book.arranged(use, np.broadcast_to(bias.view.entries(), bias.y.shape).reshape(use.y.shape))
    once = entries[:, :1]
    return bool((entries == once).all()) and np.unique(once).size == once.size


def _parameter(i: int, names: Sequence[str], program: Program[Any], found: _Found, groups: tuple[Group, ...],
               carriers: dict[int, int]) -> planner.Parameter:
    size = math.prod(program.parameters[i].shape)
    if i in found.reasons:
        return planner.Parameter(names[i], size, rule=f"fallback: {found.reasons[i]}")
    if groups and groups[0].alone:
        rules = {use.rule for use in groups[0].uses}
        return planner.Parameter(names[i], size, rule="scale" if "scale" in rules else "bias")
    if groups:
        products = tuple(group.product for group in groups)
        return planner.Parameter(names[i], size, groups[0].uses[0].rule, products, transposed=_has_cross_terms(groups))
    if i in carriers:
        return planner.Parameter(names[i], size, "bias", carried_by=names[carriers[i]])
    return planner.Parameter(names[i], size, rule="unused", used=False)
