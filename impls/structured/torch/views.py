"""A parameter seen through reshapes, transpositions, slices, casts and scaling by a number."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from impls.structured.torch.program import Constant, Step, Value, replaced

aten = torch.ops.aten

REARRANGING = (
    "reshape",
    "permute",
    "squeeze",
    "unsqueeze",
    "slice",
    "select",
    "flip",
    "expand",
    "repeat",
    "diagonal",
    "unfold",
    "roll",
)
PASSING = ("_to_copy", "clone", "alias")


@dataclass(frozen=True, eq=False)
class View:
    """`scale` times a rearrangement of the parameter. `repeats`: an entry may occur more than once."""

    parameter: int
    whole: tuple[int, ...]
    """The shape of the parameter itself."""
    shape: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    scale: float = 1.0
    repeats: bool = False

    def core(self) -> tuple[tuple[Step, ...], tuple[int, ...]]:
        """The steps before the last transpositions, and for each axis its number before them."""
        axes, steps = tuple(range(len(self.shape))), self.steps
        while steps and steps[-1].name == "permute":
            axes = tuple(steps[-1].args[1][axis] for axis in axes)
            steps = steps[:-1]
        return steps, axes

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for views that are the same rearrangement up to a transposition at the end."""
        return tuple(
            (step.name, repr(replaced(step.args, lambda _: None)), repr(step.kwargs)) for step in self.core()[0]
        )

    def entries(self, *, core: bool = False) -> Tensor:
        """Which entry of the flat parameter each entry of the view is; with `core`, before the last transpositions."""
        array = torch.arange(math.prod(self.whole)).reshape(self.whole)
        for step in self.core()[0] if core else self.steps:
            (array,) = step(lambda _, array=array: array)
        return array

    def first(self) -> View | None:
        """One of the copies that the first axis counts, or None where it counts others than copies."""
        entries = self.entries()
        if not bool((entries == entries[:1]).all()) or entries[0].unique().numel() != entries[0].numel():
            return None
        shown = Value(self.shape, torch.float64)
        step = Step(aten.select.int, (shown, 0, 0), {}, (Value(self.shape[1:], torch.float64),))
        return replace(self, shape=self.shape[1:], steps=(*self.steps, step), repeats=False)


def extend(view: View, step: Step) -> View | None:
    """What the step's output shows, given what its first input shows; None where it is no mere rearrangement."""
    if len(step.outputs) != 1 or any(isinstance(operand, Value) for operand in step.inputs[1:]):
        return None
    factor = scalar_factor(step)
    if factor is not None:
        return replace(view, scale=view.scale * factor)
    if step.name in PASSING and step.outputs[0].dtype.is_floating_point:
        return view
    if step.name not in REARRANGING or len(step.inputs) != 1:
        return None
    shape = step.outputs[0].shape
    return replace(
        view, shape=shape, steps=(*view.steps, step), repeats=view.repeats or math.prod(shape) > math.prod(view.shape)
    )


def scalar_factor(step: Step) -> float | None:
    """The known number that the step multiplies its first input by, or None."""
    if step.name == "neg":
        return -1.0
    if step.name not in ("mul", "div") or len(step.args) != 2 or step.kwargs:
        return None
    other = step.args[1]
    if isinstance(other, Constant) and other.tensor.numel() == 1 and step.inputs[0].shape == step.outputs[0].shape:
        other = other.tensor.item()
    if not isinstance(other, (int, float)) or (step.name == "div" and other == 0):
        return None
    return float(other) if step.name == "mul" else 1.0 / other
