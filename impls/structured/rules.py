"""The rule book: what a half says of its framework's operations, and all that the analysis asks of a framework.

Tables hold the names of operations; functions read a step's arguments. What follows from them (which parameter meets
which product, what is grouped, carried, separable) is written once, in `views`, `analysis` and `tails`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impls.programs.program import Opened, Operand, Program, Step
from impls.structured.uses import Use, View


@dataclass(frozen=True)
class RuleBook:
    """How a half's operations are named and read."""

    products: frozenset[str]
    """What a parameter may enter with a rule that covers it."""
    find_use: Callable[[View, int, Any], Use | str]
    """The product that a step is for the view at that position of its inputs, or why no rule covers it."""
    arranged: Callable[[Use, np.ndarray], np.ndarray]
    """`Use.arrange` of whole numbers."""
    number: Callable[[Any, int], float | None]
    """The known real number that a product or quotient multiplies its input at that position by, or divides it by."""
    keeps_order: Callable[[Any], bool]
    """Whether the step has one input, and gives the same numbers in the same order."""
    number_by_number: Callable[[Any], bool]
    """Whether each number of a step's result is a function of one number of each array that it reads, and at the same
    place."""
    summed_axes: Callable[[Any], Sequence[int] | None]
    """The axes that the step sums or averages its input over, none of them in part; None where it does something
    else."""
    is_real: Callable[[Any], bool]
    """Of a dtype."""
    is_differentiable: Callable[[Any], bool]
    """Of a dtype: whether gradients pass through its numbers, real or complex."""

    rearranging: frozenset[str]
    """What a parameter is seen through: its first input rearranged, by arguments that are known."""
    passing: frozenset[str]
    """Copies and casts: what a parameter is seen through unchanged."""
    taking: frozenset[str]
    """Rearrangements of activations: each number stays one number where none is left out or repeated."""
    linear: frozenset[str]
    """In their only array, beyond `taking`."""
    sums: frozenset[str]
    """Of two arrays; ``sub`` with the sign turned. Linear in each, whatever the other is."""
    joining: frozenset[str]
    """Arrays laid beside or around each other: linear in each, as sums are."""
    bilinear: frozenset[str]
    linear_in_first: frozenset[str]
    casts: frozenset[str] = frozenset()
    """What changes a dtype and nothing else."""
    stops: frozenset[str] = frozenset()
    """What no gradient flows through."""

    concatenation: Callable[[Any], int | None] = lambda step: None
    """The axis along which a step lays views beside each other that are then one factor of a product."""
    opened: Callable[[Program[Any]], Opened] = lambda program: (
        program.steps, program.output, {value: value for step in program.steps for value in step.outputs})
    forward_only: Callable[[Any], bool] = lambda step: False
    """Whether only forward-mode differentiation goes through the step."""


def reorders(step: Step, book: RuleBook) -> bool:
    """Whether it moves numbers of one array, and each stays one number."""
    return step.name in book.taking and len(step.inputs) == 1 and _size(step.inputs[0]) == _size(step.outputs[0])


def _size(operand: Operand) -> int:
    return int(np.prod(operand.shape))
