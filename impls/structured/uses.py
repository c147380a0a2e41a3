"""How a parameter is seen, and where it meets activations: what the analysis knows of it, in either framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impls.programs.program import Operand, Step, Value

Arrange = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class View:
    """`scale` times a rearrangement of the parameter. `repeats`: an entry may occur more than once. `window`: what it
    fills of a concatenation, (axis, start, stop)."""

    parameter: int
    whole: tuple[int, ...]
    """The shape of the parameter itself."""
    shape: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    scale: float = 1.0
    repeats: bool = False
    window: tuple[int, int, int] | None = None

    def core(self) -> tuple[tuple[Step, ...], tuple[int, ...]]:
        """The steps before the last transpositions, and for each axis its number before them."""
        axes, steps = tuple(range(len(self.shape))), self.steps
        while steps and (permutation := steps[-1].permutation) is not None:
            axes = tuple(permutation[axis] for axis in axes)
            steps = steps[:-1]
        return steps, axes

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for views that are the same rearrangement up to a transposition at the end."""
        return tuple(step.key for step in self.core()[0])

    def roles(self, *roles: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Axes of the view by their numbers before the last transpositions."""
        axes = self.core()[1]
        return tuple(tuple(axes[axis] for axis in role) for role in roles)

    def entries(self) -> np.ndarray:
        """Which entry of the flat parameter each entry of the view is, without its surroundings in a concatenation."""
        array = np.arange(math.prod(self.whole), dtype=np.int32).reshape(self.whole)
        for step in self.steps:
            array = step.rearranged(array)
        return array


@dataclass(frozen=True, eq=False)
class Use:
    """One product of a parameter, for one example, in the planner's normal form y = Σ_i a θ.

    `inflow` brings the activations to a (S, T, I), or to the row numbers (T,) of a lookup; `arrange` brings an array of
    y's shape to (S, T, J). `roles`: the axes of the parameter's view (before its last transpositions) in S, I and J.
    """

    rule: str
    view: View
    step: Step
    activation: Operand | None
    """None: an input that is always 1."""
    roles: tuple[tuple[int, ...], ...]
    sizes: tuple[int, int, int, int]
    """S, T, I, J."""
    inflow: Arrange
    arrange: Arrange
    sign: float = 1.0
    overlapping: bool = False
    """Whether `arrange` may take an entry of y several times, or never."""
    alone: bool = False
    """No product is made of it: another one counts it, or its gradient is taken directly."""
    in_parts: Callable[[Any], list[Any]] | None = None
    """The same as `inflow` in parts that are to be laid end to end along I, where that saves a copy."""
    gradients: Callable[[Any, Any], Any] | None = None
    """Of activations (N, …) and cotangents (O, N, …) of y, as they are: the gradients (O, N, S, J, I), where the
    framework has an operation for them."""

    @property
    def y(self) -> Value:
        return self.step.outputs[0]

    @property
    def scale(self) -> float:
        return self.sign * self.view.scale

    @property
    def covers_y(self) -> bool:
        S, T, _, J = self.sizes
        return not self.overlapping and math.prod(self.y.shape) == S * T * J
