"""How ATen's operations are named and read: the rule book of the PyTorch half."""

from __future__ import annotations

import math

import torch

from impls.programs.program import Constant
from impls.programs.torch.program import Step, is_differentiable, tensor_of
from impls.structured.rules import RuleBook
from impls.structured.torch.products import RULES, find_use

RESHAPING = ("reshape", "squeeze", "unsqueeze")


def _number(step: Step, position: int) -> float | None:
    """Of the second argument, for the first."""
    if position != 0 or len(step.args) != 2 or step.kwargs:
        return None
    other = step.args[1]
    if isinstance(other, Constant) and other.value.numel() == 1 and step.inputs[0].shape == step.outputs[0].shape:
        other = other.value.item()
    if not isinstance(other, (int, float)) or (step.name == "div" and other == 0):
        return None
    return float(other)


def _keeps_order(step: Step) -> bool:
    return step.name in RESHAPING and math.prod(step.inputs[0].shape) == math.prod(step.outputs[0].shape)


def _summed_axes(step: Step) -> list[int] | None:
    (operand, *_) = step.inputs
    n = len(operand.shape)
    if step.name in ("sum", "mean"):
        axes = step.args[1] if len(step.args) > 1 else None
        return [axis % n for axis in axes] if axes else list(range(n))
    if step.name in ("avg_pool2d", "avg_pool3d"):
        k = int(step.name[-2])
        window, padding = (list(step.args[1]), step.args[3] if len(step.args) > 3 else [0])
        whole = [*operand.shape[-k:]] == (window * k if len(window) == 1 else window)
        return list(range(n - k, n)) if whole and not any(padding) else None
    return None


BOOK = RuleBook(
    products=frozenset(RULES),
    find_use=find_use,
    arranged=lambda use, numbers: use.arrange(tensor_of(numbers)).numpy(),
    number=_number,
    keeps_order=_keeps_order,
    number_by_number=lambda step: torch.Tag.pointwise in step.op.tags,
    summed_axes=_summed_axes,
    is_real=lambda dtype: dtype.is_floating_point,
    is_differentiable=is_differentiable,
    rearranging=frozenset(("reshape", "permute", "squeeze", "unsqueeze", "slice", "select", "flip", "expand", "repeat",
                           "diagonal", "unfold", "roll")),
    passing=frozenset(("_to_copy", "clone", "alias")),
    taking=frozenset(("reshape", "permute", "squeeze", "unsqueeze", "flip", "roll", "slice", "select", "expand",
                      "diagonal")),
    linear=frozenset(("repeat", "unfold", "unbind", "split_with_sizes", "constant_pad_nd", "sum", "mean", "cumsum",
                      "neg", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")),
    sums=frozenset(("add", "sub")),
    joining=frozenset(("cat",)),
    bilinear=frozenset(("mul", "mm", "bmm")),
    linear_in_first=frozenset(("div", "convolution")),
    stops=frozenset(("detach",)),
)
