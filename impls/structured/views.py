"""A parameter through reshapes, transpositions, slices, casts, scaling by a number and concatenation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from impls.programs.program import Operand, Step, Value
from impls.structured.rules import RuleBook
from impls.structured.uses import View


def extended(views: tuple[View, ...], position: int, step: Step, book: RuleBook) -> tuple[View, ...] | None:
    """What the step's output shows, given what its input at `position` shows; None where it is no rearrangement."""
    others = [operand for i, operand in enumerate(step.inputs) if i != position]
    if len(step.outputs) != 1 or any(isinstance(operand, Value) for operand in others):
        return None
    if (factor := scalar_factor(step, position, book)) is not None:
        return tuple(replace(view, scale=view.scale * factor) for view in views)
    if step.name in book.passing and book.is_real(step.outputs[0].dtype):
        return views
    if position != 0 or step.name not in book.rearranging:
        return None
    whole = len(views) == 1 and views[0].window is None
    return tuple(_rearranged(view, step) for view in views) if whole or step.permutation is not None else None


def _rearranged(view: View, step: Step) -> View:
    shape, window = step.outputs[0].shape, view.window
    if window is not None:
        assert step.permutation is not None
        window = (step.permutation.index(window[0]), *window[1:])
    repeats = view.repeats or math.prod(shape) > math.prod(view.shape)
    return replace(view, shape=shape, steps=(*view.steps, step), repeats=repeats, window=window)


def concatenated(operands: Sequence[Operand], views: Sequence[tuple[View, ...] | None], step: Step,
                 axis: int) -> tuple[View, ...] | None:
    """What a concatenation of views shows, each in its own window; None where an activation is among them."""
    start, parts = 0, list[View]()
    for operand, shown in zip(operands, views, strict=True):
        stop = start + operand.shape[axis]
        if shown is not None:
            if len(shown) != 1 or shown[0].window is not None:
                return None
            parts.append(replace(shown[0], shape=step.outputs[0].shape, window=(axis, start, stop)))
        elif operand.parameters or operand.on_example:
            return None
        start = stop
    return tuple(parts)


def scalar_factor(step: Step, position: int, book: RuleBook) -> float | None:
    """The known real number that the step multiplies this input by, or None."""
    if step.name == "neg":
        return -1.0
    if step.name not in ("mul", "div") or (step.name == "div" and position != 0):
        return None
    number = book.number(step, position)
    return number if number is None or step.name == "mul" else 1.0 / number
