"""Activation functions, whose derivative is taken once for each example instead of once for each of its outputs.

In the backward passes of all outputs PyTorch would compute it for each of them (seen, when these were made one by one:
GELU, a tenth of a transformer's time).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import vjp

from impls.programs.program import Read, Value
from impls.programs.torch.program import Step

FUNCTIONS = frozenset(
    ("gelu", "silu", "elu", "celu", "selu", "softplus", "mish", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu")
)
"""Of one number each, with arguments that are no tensors; only such whose derivative costs more than a product."""


def is_function_of_numbers(step: Step) -> bool:
    """Whether it is one of these, and gradients flow through it."""
    return step.name in FUNCTIONS and len(step.inputs) == 1 and bool(step.outputs[0].parameters)


def differentiated_once(step: Step, read: Read) -> Tensor:
    """What the step gives; its cotangent is multiplied by the derivative."""
    (operand,) = step.inputs
    assert isinstance(operand, Value)
    h = read(operand)
    y, backward = vjp(lambda h: step(lambda _: h)[0], h.detach())[:2]
    (derivative,) = backward(torch.ones_like(y))
    return _Known.apply(h, y.detach(), derivative.detach())  # type: ignore[no-any-return]


class _Known(torch.autograd.Function):
    """y, as a function of h with this derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(h: Tensor, y: Tensor, derivative: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        (derivative,) = ctx.saved_tensors
        return cotangents[0] * derivative, None, None
