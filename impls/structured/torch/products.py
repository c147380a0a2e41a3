"""The rules: operations that multiply a parameter with activations, brought to the planner's normal form y = Σ_i a θ.

A bias is a product with an input that is always 1; a scale is as many products of one number as it has entries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv1d_weight, conv2d_weight, conv3d_weight

from impls.programs.program import Operand, Value
from impls.programs.torch.program import Step
from impls.structured.uses import Arrange, Use, View

aten = torch.ops.aten

def find_use(view: View, position: int, step: Step) -> Use | str:
    """The product that this step is for the view at that position of its inputs, or why no rule covers it."""
    if step.name in ("mul", "div") and not step.outputs[0].on_example:
        return f"enters {step.name} before it meets the example"
    rule = RULES.get(step.name)
    if rule is None:
        return f"enters {step.name}"
    if view.repeats and step.name != "bmm":
        return f"enters {step.name} after being repeated"
    if step.outputs[0].dtype.is_complex:
        return f"enters {step.name} in complex numbers"
    return rule(view, position, step)


def _matrix(view: View, position: int, step: Step) -> Use:
    """``mm``: the rows of the other operand are the positions."""
    return _dense(view, position, step, 1)


def _matrices(view: View, position: int, step: Step) -> Use | str:
    """``bmm``: a matrix for each entry of the batch, or one matrix for all of them."""
    if not view.repeats:
        return _dense(view, position, step, view.shape[0])
    one = _first(view)
    return "enters bmm after being repeated" if one is None else _dense(one, position, step, 1)


def _dense(view: View, position: int, step: Step, S: int) -> Use:
    """A matrix, or S of them along the view's first axis."""
    batch = range(len(view.shape) - 2)
    inputs, outputs = (len(batch), len(batch) + 1) if position == 1 else (len(batch) + 1, len(batch))
    I, J = view.shape[inputs], view.shape[outputs]
    T = math.prod(step.outputs[0].shape) // (S * J)
    turn: Arrange = (lambda t: t) if position == 1 else (lambda t: t.mT)
    return Use("dense", view, step, step.args[1 - position], view.roles(batch, (inputs,), (outputs,)), (S, T, I, J),
               lambda h: turn(h).reshape(S, T, I), lambda y: turn(y).reshape(S, T, J))


def _first(view: View) -> View | None:
    """One of the copies that the first axis counts, or None where it counts others than copies."""
    entries = view.entries()
    if not (entries == entries[:1]).all() or np.unique(entries[0]).size != entries[0].size:
        return None
    shown = Value(view.shape, torch.float64)
    step = Step(aten.select.int, (shown, 0, 0), {}, (Value(view.shape[1:], torch.float64),))
    return replace(view, shape=view.shape[1:], steps=(*view.steps, step), repeats=False)


def _convolution(view: View, position: int, step: Step) -> Use | str:
    """A convolution is a dense layer on its patches, in each group of channels; its positions are those of the
    output."""
    x, _, _, stride, padding, dilation, transposed, _, groups = step.args
    if position != 1:
        return "is the image of a convolution"
    if transposed:
        return _transposed_convolution(view, step)
    channels, inputs, *window = view.shape
    y = step.outputs[0].shape
    S, T, I, J = groups, math.prod(y) // channels, inputs * math.prod(window), channels // groups
    n = len(window)
    stride, padding, dilation = ([*p] * n if len(p) == 1 else [*p] for p in (stride, padding, dilation))

    def inflow(h: Tensor) -> Tensor:
        patches = _patches(h, window, stride, padding, dilation)  # (N, C, places…, window…)
        patches = patches.unflatten(1, (groups, inputs))
        places, offsets = range(3, 3 + n), range(3 + n, 3 + 2 * n)
        return patches.permute(1, 2, *offsets, 0, *places).reshape(S, I, T).mT

    def arrange(g: Tensor) -> Tensor:
        return _channels_first(g, S, J)

    def gradients(h: Tensor, g: Tensor) -> Tensor:
        """Each image is a group of channels; so its patches are never copied. On a CPU one output at a time (seen: ten
        at once take twice as long)."""
        if g.device.type == "cpu" and len(g) > 1:
            return torch.cat([gradients(h, each[None]) for each in g])
        n_outputs, n_images = len(g), math.prod(h.shape[:2])
        g = g.flatten(1, 2).unflatten(2, (S, J)).permute(1, 2, 0, 3, *range(4, 4 + n))
        shape = (n_images * S * n_outputs * J, inputs, *window)
        image, cotangent = h.reshape(1, -1, *h.shape[3:]), g.reshape(1, shape[0], *g.shape[4:])
        d = CONVOLVED[n](image, shape, cotangent, stride, padding, dilation, n_images * S)
        d = d.view(-1, h.shape[1], S, n_outputs, J, I)
        return (d[:, 0] if h.shape[1] == 1 else d.sum(1)).permute(2, 0, 1, 3, 4)

    roles = ((groups,), *view.roles(range(1, len(view.shape)), (0,)))
    return Use("convolution", view, step, x, roles, (S, T, I, J), inflow, arrange, gradients=gradients)


CONVOLVED: dict[int, Callable[..., Tensor]] = {1: conv1d_weight, 2: conv2d_weight, 3: conv3d_weight}
"""By the number of axes of a window."""


def _transposed_convolution(view: View, step: Step) -> Use:
    """A dense layer at each input position, whose outputs are laid over each other: its g are patches of y's."""
    x, _, _, stride, padding, dilation, _, _, groups = step.args
    channels, outputs, *window = view.shape
    places, n = x.shape[2:], len(window)
    S, T, I, J = groups, math.prod(places), channels // groups, outputs * math.prod(window)
    stride, padding, dilation = ([*p] * n if len(p) == 1 else [*p] for p in (stride, padding, dilation))

    def arrange(g: Tensor) -> Tensor:
        patches = _patches(g, window, stride, padding, dilation)
        for axis, size in enumerate(places, 2):  # output_padding may make room for more
            patches = patches.narrow(axis, 0, size)
        patches = patches.unflatten(1, (S, outputs))
        return patches.permute(1, 2, *range(3 + n, 3 + 2 * n), 0, *range(3, 3 + n)).reshape(S, J, T).mT

    def inflow(h: Tensor) -> Tensor:
        return _channels_first(h, S, I)

    roles = ((groups,), *view.roles((0,), range(1, len(view.shape))))
    return Use("convolution", view, step, x, roles, (S, T, I, J), inflow, arrange, overlapping=True)


def _channels_first(image: Tensor, groups: int, channels: int) -> Tensor:
    """(N, S·C, places…) to (S, N·T, C). The places stay together in memory, as they lie in an image: copying whole rows
    is several times as fast as laying the channels side by side, and of one image nothing is copied."""
    image = image.unflatten(1, (groups, channels))
    return image.permute(1, 2, 0, *range(3, image.ndim)).reshape(groups, channels, -1).mT


def _patches(
    h: Tensor, window: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """(N, C, T1, …, K1, …): entry [t, k] is the input that kernel position k meets at output position t."""
    h = F.pad(h, [p for size in reversed(padding) for p in (size, size)])
    for i, size in enumerate(window):
        h = h.unfold(2 + i, (size - 1) * dilation[i] + 1, stride[i])[..., :: dilation[i]]
    return h


def _lookup(view: View, position: int, step: Step) -> Use | str:
    """Whole rows taken by number: a is one-hot."""
    taken = _row_numbers(step)
    if position != 0 or taken is None:
        return f"enters {step.name} that takes no whole rows"
    rows, padding = taken
    T, J = math.prod(rows.shape), math.prod(view.shape[1:])

    def inflow(rows: Tensor) -> Tensor:
        rows = rows.reshape(T).remainder(view.shape[0])
        return rows if padding < 0 else torch.where(rows == padding, -1, rows)

    return Use("embedding", view, step, rows, view.roles((), (0,), range(1, len(view.shape))),
               (1, T, view.shape[0], J), inflow, lambda g: g.reshape(1, T, J))


def _row_numbers(step: Step) -> tuple[Operand, int] | None:
    """The rows that the step takes, and the row that has no gradient (−1: none has not)."""
    if step.name == "embedding":
        padding, by_frequency, _ = (*step.args[2:], *(-1, False, False)[len(step.args) - 2 :])
        return None if by_frequency else (step.args[1], padding)
    if step.name == "index_select":
        return (step.args[2], -1) if step.args[1] == 0 else None
    (first, *rest) = step.args[1]
    if first is None or _is_mask(first) or any(index is not None for index in rest):
        return None
    return first, -1


def _is_mask(index: Operand) -> bool:
    return index.dtype in (torch.bool, torch.uint8)


def _bias(view: View, position: int, step: Step) -> Use | str:
    own, shared = _broadcast(view, step)
    sign = -1.0 if step.name == "sub" and position == 1 else 1.0
    return _always_one(view, step, own, shared, lambda y: y, sign)


def _part(view: View, position: int, step: Step) -> Use | str:
    """A parameter laid beside activations is a bias where it lies."""
    tensors, dim = step.args[0], (step.args[1] if len(step.args) > 1 else 0) % len(view.shape)
    start = sum(tensor.shape[dim] for tensor in tensors[:position])
    return _always_one(view, step, range(len(view.shape)), (), lambda y: y.narrow(dim, start, view.shape[dim]), 1.0)


def _always_one(view: View, step: Step, own: Sequence[int], shared: Sequence[int], cut: Arrange, sign: float) -> Use:
    y = step.outputs[0]
    T, J = math.prod(y.shape[axis] for axis in shared), math.prod(view.shape)
    return Use("bias", view, step, None, view.roles((), (), range(len(view.shape))), (1, T, 1, J),
               lambda y: y.new_ones(1, T, 1), lambda y: cut(y).permute(*shared, *own).reshape(1, T, J), sign)


def _scale(view: View, position: int, step: Step) -> Use | str:
    if step.name == "div" and position == 1:
        return "is divided by"
    h, (own, shared) = step.args[1 - position], _broadcast(view, step)
    y = step.outputs[0].shape
    S, T = math.prod(view.shape), math.prod(y[axis] for axis in shared)

    def arrange(y: Tensor) -> Tensor:
        return y.permute(*own, *shared).reshape(S, T, 1)

    def inflow(h: Tensor) -> Tensor:
        return arrange((h if step.name == "mul" else 1 / h).expand(y))

    return Use("scale", view, step, h, view.roles(range(len(view.shape)), (), ()), (S, T, 1, 1), inflow, arrange)


def _broadcast(view: View, step: Step) -> tuple[list[int], list[int]]:
    """The axes of y that the view has, and those along which it is repeated."""
    y = step.outputs[0].shape
    shape = (*(None,) * (len(y) - len(view.shape)), *view.shape)
    own = [axis for axis in range(len(y)) if shape[axis] == y[axis]]
    return own, [axis for axis in range(len(y)) if axis not in own]


RULES: dict[str, Callable[[View, int, Step], Use | str]] = {
    "mm": _matrix, "bmm": _matrices, "convolution": _convolution,
    "embedding": _lookup, "index_select": _lookup, "index": _lookup,
    "add": _bias, "sub": _bias, "cat": _part, "mul": _scale, "div": _scale,
}  # fmt: skip
