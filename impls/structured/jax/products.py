"""The rules: operations that multiply a parameter with activations, in the planner's normal form y = Σ_i a θ."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax import lax

from impls.programs.jax.program import Step
from impls.programs.program import Constant
from impls.structured.uses import Use, View

SUMS = frozenset(("add", "add_any", "sub"))


def find_use(view: View, position: int, step: Step) -> Use | str:
    """The product that this step is for the view at that position of its inputs, or why no rule covers it."""
    if any(operand.only_parameters for i, operand in enumerate(step.inputs) if i != position):
        return f"enters {step.name} together with other parameters"
    if jnp.issubdtype(step.outputs[0].dtype, jnp.complexfloating):  # a product may mix dtypes: real times complex
        return f"enters {step.name} with complex numbers"
    rule = RULES.get(step.name)
    if rule is None:
        return f"enters {step.said}"
    if view.repeats and rule not in (_bias, _scale):
        return f"enters {step.name} after being repeated"
    return rule(view, position, step)


def _bias(view: View, position: int, step: Step) -> Use | str:
    if view.window is not None:
        return f"enters {step.name} as part of a concatenation"
    return _alone("bias", view, step, -1.0 if step.name == "sub" and position == 1 else 1.0)


def _scale(view: View, position: int, step: Step) -> Use | str:
    return "is divided by" if step.name == "div" and position == 1 else _alone("scale", view, step)


def _alone(rule: str, view: View, step: Step, sign: float = 1.0) -> Use:
    """XLA sums its gradient itself, as `factors` writes such a step."""
    y = step.outputs[0].shape
    return Use(rule, view, step, None, (), (1, 1, 1, math.prod(y)), lambda h: h, lambda g: g.reshape(1, 1, -1), sign,
               overlapping=len(view.shape) != len(y), alone=True)


def _dense(view: View, position: int, step: Step) -> Use | str:
    """Any dot_general: of its axes, those of the parameter that are free are J, the activation's free ones are T."""
    contract, batch = step.params["dimension_numbers"]
    weight_contract, weight_batch = contract[position], batch[position]
    contract, batch = contract[1 - position], batch[1 - position]
    shape = step.inputs[1 - position].shape
    free = [axis for axis in range(len(shape)) if axis not in contract and axis not in batch]
    weight_free = [axis for axis in range(len(view.shape)) if axis not in weight_contract and axis not in weight_batch]
    S, T, I = (math.prod(shape[axis] for axis in axes) for axes in (batch, free, contract))
    J = math.prod(view.shape[axis] for axis in weight_free)

    def arrange(y: Any) -> Any:
        return y.reshape(S, T, J) if position == 1 else y.reshape(S, J, T).swapaxes(1, 2)

    axes = (tuple(weight_batch), tuple(weight_contract), tuple(weight_free))
    use = Use("dense", view, step, step.inputs[1 - position], view.roles(*axes), (S, T, I, J),
              lambda h: h.transpose(*batch, *free, *contract).reshape(S, T, I), arrange)
    return use if view.window is None else _windowed(use, view.window, axes)


def _windowed(use: Use, window: tuple[int, int, int], axes: tuple[tuple[int, ...], ...]) -> Use:
    """The same product for a parameter that is only a part of a concatenation: a or g is cut to its part.

    `axes`: those of the concatenation in S, I and J.
    """
    axis, start, stop = window
    batch, contract, free = ([use.view.shape[a] for a in role] for role in axes)
    S, T, I, J = use.sizes
    cut = slice(start, stop)
    if axis in axes[1]:
        at = axes[1].index(axis)
        fewer = I // contract[at] * (stop - start)
        return replace(use, sizes=(S, T, fewer, J), inflow=lambda h: _cut(use.inflow(h), 2, contract, at, cut))
    if axis in axes[2]:
        at = axes[2].index(axis)
        fewer = J // free[at] * (stop - start)
        return replace(use, sizes=(S, T, I, fewer), arrange=lambda y: _cut(use.arrange(y), 2, free, at, cut))
    at = axes[0].index(axis)
    fewer = S // batch[at] * (stop - start)
    return replace(use, sizes=(fewer, T, I, J), inflow=lambda h: _cut(use.inflow(h), 0, batch, at, cut),
                   arrange=lambda y: _cut(use.arrange(y), 0, batch, at, cut))


def _cut(array: Any, axis: int, parts: list[int], at: int, cut: slice) -> Any:
    """Take `cut` of part `at` of an axis that several parts were joined to."""
    before, after = array.shape[:axis], array.shape[axis + 1:]
    split = array.reshape(*before, *parts, *after)
    taken = split[(slice(None),) * (axis + at) + (cut,)]
    return taken.reshape(*before, -1, *after)


def _convolution(view: View, position: int, step: Step) -> Use | str:
    """A dense layer on the patches, in each group of channels; its positions are those of the output."""
    params = step.params
    if position != 1:
        return "is the image of a convolution"
    if params["batch_group_count"] != 1:
        return "enters a convolution with batch groups"
    if view.window is not None:
        return "enters a convolution as part of a concatenation"
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    out, inn, *window_axes = numbers.rhs_spec
    window = tuple(view.shape[axis] for axis in window_axes)
    y = step.outputs[0].shape
    J, I = view.shape[out] // groups, view.shape[inn] * math.prod(window)
    T = math.prod(y) // view.shape[out]
    y_batch, y_channel, *y_space = numbers.out_spec
    space = [y[axis] for axis in y_space]

    def in_parts(h: Any) -> list[Any]:
        batch, channel, *image = numbers.lhs_spec
        parts = _patches(h.transpose(batch, *image, channel), window, space, groups, params)
        return [part.reshape(T, groups, -1).swapaxes(0, 1) for part in parts]

    def inflow(h: Any) -> Any:
        return jnp.concatenate(in_parts(h), 2)

    def arrange(g: Any) -> Any:
        return g.transpose(y_channel, y_batch, *y_space).reshape(groups, J, T).swapaxes(1, 2)

    roles = ((groups,), *view.roles((*window_axes, inn), (out,)))
    return Use("convolution", view, step, step.inputs[0], roles, (groups, T, I, J), inflow, arrange, in_parts=in_parts)


def _patches(h: Any, window: tuple[int, ...], space: list[int], groups: int, params: Any) -> list[Any]:
    """(N, …, C) to (N, T…, groups, K… × C/groups): at [t, …, k] the input that kernel position k meets at position t.

    One array for each row of the kernel. Channels are last, so that what is copied lies together.
    """
    pads = [(lo, hi, step - 1) for (lo, hi), step in zip(params["padding"], params["lhs_dilation"], strict=True)]
    h = lax.pad(h, jnp.zeros((), h.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    h = h if groups == 1 else h.reshape(*h.shape[:-1], groups, h.shape[-1] // groups)
    for i in reversed(range(len(window))):
        stride, dilation = params["window_strides"][i], params["rhs_dilation"][i]
        parts = [lax.slice_in_dim(h, first, first + (space[i] - 1) * stride + 1, stride, 1 + i)
                 for first in range(0, window[i] * dilation, dilation)]
        if not i:
            return parts
        h = lax.concatenate(parts, h.ndim - 1)
    return [h]


def _lookup(view: View, position: int, step: Step) -> Use | str:
    """Whole rows taken by number: a is one-hot."""
    numbers, table, params = step.params["dimension_numbers"], view.shape, step.params
    clips, start_axes = "CLIP" in str(params["mode"]), tuple(numbers.start_index_map)
    # A start along another axis can only be clipped to 0, as whole rows are taken.
    whole_rows = (tuple(params["slice_sizes"]) == (1, *table[1:]) and not numbers.operand_batching_dims
                  and (start_axes == (0,) or (clips and 0 in start_axes)))
    if position != 0 or not whole_rows or view.window is not None:
        return "enters a gather that takes no whole rows"
    indices = step.inputs[1].shape
    T, J = math.prod(indices[:-1]), math.prod(table[1:])
    y, row = step.outputs[0].shape, tuple(numbers.offset_dims)
    places = [axis for axis in range(len(y)) if axis not in row]

    def inflow(starts: Any) -> Any:
        return _row_numbers(starts[..., start_axes.index(0)].reshape(T), table[0], clips)

    return Use("embedding", view, step, step.inputs[1], view.roles((), (0,), range(1, len(table))),
               (1, T, table[0], J), inflow, lambda g: g.transpose(*places, *row).reshape(1, T, J))


def _row_numbers(rows: Any, n_rows: int, clips: bool) -> Any:
    """Row numbers, −1 where out of range (such a lookup has no gradient)."""
    if clips:
        return jnp.clip(rows, 0, n_rows - 1)
    return jnp.where((rows >= 0) & (rows < n_rows), rows, -1)


def _single_lookup(view: View, position: int, step: Step) -> Use | str:
    """One whole row taken by a number that depends on the example."""
    table = view.shape
    if position != 0 or tuple(step.params["slice_sizes"]) != (1, *table[1:]) or view.window is not None:
        return "enters a slice that depends on the example"
    if isinstance(step.inputs[1], Constant):
        return "enters a slice whose start is known only in part"
    J = math.prod(table[1:])
    return Use("embedding", view, step, step.inputs[1], view.roles((), (0,), range(1, len(table))),
               (1, 1, table[0], J), lambda row: _row_numbers(row.reshape(1), table[0], clips=True),
               lambda g: g.reshape(1, 1, J))


RULES: dict[str, Callable[[View, int, Step], Use | str]] = {
    "dot_general": _dense, "conv_general_dilated": _convolution, "gather": _lookup, "dynamic_slice": _single_lookup,
    **dict.fromkeys(SUMS, _bias), "mul": _scale, "div": _scale,
}
