"""A parameter seen through reshapes, transpositions, slices, casts, scaling and concatenation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.structured.jax.trace import Constant, Operand, Step, Value

REARRANGING = ("reshape", "transpose", "squeeze", "slice", "rev", "dynamic_slice", "broadcast_in_dim", "expand_dims")
PASSING = ("copy", "copy_p", "convert_element_type", "name", "optimization_barrier")


@dataclass(frozen=True, eq=False)
class View:
    """`scale` times a rearrangement of the parameter.

    `window`: what it fills of a concatenation, (axis, start, stop).
    """

    parameter: int
    shape: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    scale: float = 1.0
    repeats: bool = False
    window: tuple[int, int, int] | None = None

    @property
    def own_shape(self) -> tuple[int, ...]:
        """The shape without its surroundings in a concatenation."""
        if self.window is None:
            return self.shape
        axis, start, stop = self.window
        return (*self.shape[:axis], stop - start, *self.shape[axis + 1:])

    def core(self) -> tuple[tuple[Step, ...], tuple[int, ...]]:
        """The steps before the last transpositions, and for each axis its number before them."""
        axes = tuple(range(len(self.shape)))
        steps = self.steps
        while steps and steps[-1].name == "transpose":
            axes = tuple(steps[-1].params["permutation"][axis] for axis in axes)
            steps = steps[:-1]
        return steps, axes

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for views that are the same rearrangement up to a transposition at the end."""
        return tuple((step.name, repr(sorted(step.params.items(), key=lambda item: item[0])), _constants(step))
                     for step in self.core()[0])


def _constants(step: Step) -> tuple[Any, ...]:
    return tuple(np.asarray(o.value).tolist() for o in step.inputs if isinstance(o, Constant))


def extend(views: tuple[View, ...], position: int, step: Step) -> tuple[View, ...] | None:
    """What the step's output shows, given what its input at `position` shows; None where it is no rearrangement."""
    others = [operand for i, operand in enumerate(step.inputs) if i != position]
    if not all(isinstance(operand, Constant) for operand in others):
        return None
    if (factor := scalar_factor(step, position)) is not None:
        return tuple(replace(view, scale=view.scale * factor) for view in views)
    if step.name in PASSING and jnp.issubdtype(step.outputs[0].dtype, np.floating) and len(step.outputs) == 1:
        return views
    if position != 0 or step.name not in REARRANGING:
        return None
    if len(views) == 1 and views[0].window is None:
        return (_rearranged(views[0], step),)
    if step.name != "transpose":
        return None
    return tuple(_rearranged(view, step) for view in views)


def _rearranged(view: View, step: Step) -> View:
    shape = step.outputs[0].shape
    repeats = step.name == "broadcast_in_dim" and int(np.prod(shape)) != int(np.prod(view.shape))
    window = view.window
    if window is not None:
        window = (step.params["permutation"].index(window[0]), *window[1:])
    return replace(view, shape=shape, steps=(*view.steps, step), repeats=view.repeats or repeats, window=window)


def concatenated(operands: Sequence[Operand], views: Sequence[tuple[View, ...] | None],
                 step: Step) -> tuple[View, ...] | None:
    """What a concatenation of views shows, each in its own window."""
    axis, start = step.params["dimension"], 0
    parts: list[View] = []
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


def scalar_factor(step: Step, position: int) -> float | None:
    """The known real number other than 0 that the step multiplies its input by, or None."""
    if step.name == "neg":
        return -1.0
    if step.name not in ("mul", "div") or (step.name == "div" and position != 0):
        return None
    other, same_shape = step.inputs[1 - position], step.inputs[position].shape == step.outputs[0].shape
    if not isinstance(other, Constant) or np.size(other.value) != 1 or not same_shape:
        return None
    if not jnp.issubdtype(jnp.result_type(other.value), jnp.floating):
        return None
    number = float(np.asarray(other.value).reshape(()))
    if number == 0.0:
        return None
    return number if step.name == "mul" else 1.0 / number


def indices(view: View, parameter: Value, *, core: bool = False) -> np.ndarray:
    """Which entry of the parameter each entry of the view is; with `core`, before the last transpositions."""
    array = np.arange(math.prod(parameter.shape), dtype=np.int32).reshape(parameter.shape)
    for step in view.core()[0] if core else view.steps:
        array = rearranged(step, array)
    return array


def rearranged(step: Step, array: np.ndarray) -> np.ndarray:
    """In NumPy where that is quickly said: each operation that JAX runs by itself is compiled first."""
    params, shape = step.params, step.outputs[0].shape
    match step.name:
        case "squeeze" | "expand_dims":
            return array.reshape(shape)
        case "reshape" if params["dimensions"] is None:
            return array.reshape(shape)
        case "transpose":
            return array.transpose(params["permutation"])
        case "rev":
            return np.flip(array, params["dimensions"])
        case "slice":
            strides = params["strides"] or (1,) * array.ndim
            return array[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]
        case "broadcast_in_dim" if len(step.inputs) == 1:
            axes = params["broadcast_dimensions"]
            wide = [array.shape[axes.index(axis)] if axis in axes else 1 for axis in range(len(shape))]
            return np.broadcast_to(array.reshape(wide), shape)
    constants = [operand.value for operand in step.inputs if isinstance(operand, Constant)]
    with jax.ensure_compile_time_eval():
        return np.asarray(step(jnp.asarray(array), *constants)[0])
