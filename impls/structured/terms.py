"""The summands of the kernel that a plan asks for, of either engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from impls.structured.analysis import Analysis, Group
from impls.structured.planner import Plan, Product, Way
from impls.structured.rules import RuleBook

JOINED = "joined"
"""The name of small gradients that lie side by side, whosever they are."""


class Active(NamedTuple):
    """A product that is contracted as such, and the number of its parameter."""

    owner: int
    group: Group
    way: Way


@dataclass(frozen=True, eq=False)
class Term:
    """One summand of the kernel: a product and its way, or gradients (`group` None).

    `owner`: the parameter that it belongs to, with the biases that its group carries; None where several do.
    """

    name: str
    way: Way | Literal["cross"]
    owner: int | None = None
    group: Group | None = None
    other: Group | None = None
    """For the way "cross": the second use of a tied parameter, as the transposed matrix."""
    order: Any = None
    """For the way "top": where each output is in (s, t, j); None where the order is the same."""

    @property
    def top_scale(self) -> float:
        """For the way "top": the square of what y is multiplied by."""
        assert self.group is not None
        assert self.group.top is not None
        return self.group.top**2 * (self.group.uses[0].scale**2 if self.product.lookup else 1.0)

    @property
    def product(self) -> Product:
        assert self.group is not None
        return self.group.product

    @property
    def carried_inputs(self) -> np.ndarray | None:
        """(B, T), as `Group.carried_inputs`; None where no bias is carried."""
        return self.group.carried_inputs if self.group is not None and self.group.carried else None

    @cached_property
    def in_rows(self) -> bool:
        """Whether it is a matrix product of rows, times a number for each pair of examples."""
        return self.way == "gradient" or (self.way == "gram" and self.product.single)


def active(analysis: Analysis, plan: Plan) -> dict[str, Active]:
    """By name: the number of the parameter, and of the product among its products."""
    return {f"{i}.{k}": Active(i, group, way)
            for i, (step, groups) in enumerate(zip(plan.steps, analysis.groups, strict=True))
            if step.ways != ("direct",) for k, (group, way) in enumerate(zip(groups, step.ways, strict=True))}


def terms(analysis: Analysis, plan: Plan, gradients: Mapping[str, int], joined: Sequence[str], book: RuleBook,
          placed: Callable[[np.ndarray], Any]) -> list[Term]:
    """`gradients`: whose each is of those that are kept as such; `joined`: which of them lie side by side; `placed`:
    numbers where the contraction reads them."""
    found: list[Term] = []
    for name, (i, group, way) in active(analysis, plan).items():
        order = _top_order(group, book) if way == "top" else None
        if way != "gradient":
            found.append(Term(name, way, i, group, order=None if order is None else placed(order)))
    for i, (parameter, step) in enumerate(zip(analysis.parameters, plan.steps, strict=True)):
        if parameter.transposed and step.ways != ("direct",):
            first, second = analysis.groups[i]
            found.append(Term(f"{i}", "cross", i, first, second))
    if joined:
        found.append(Term(JOINED, "gradient"))
    return found + [Term(name, "gradient", owner) for name, owner in gradients.items() if name not in joined]


def _top_order(group: Group, book: RuleBook) -> np.ndarray | None:
    (use,) = group.uses
    outputs = np.arange(math.prod(use.y.shape))
    order = book.arranged(use, outputs.reshape(use.y.shape)).ravel().argsort()
    return None if (order == outputs).all() else order
