"""How JAX's operations are named and read: the rule book of its half."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.loops import loops
from impls.programs.jax.program import Step
from impls.programs.jax.trace import opened
from impls.programs.program import Constant
from impls.structured.jax.calls import derivative_is_number_by_number
from impls.structured.jax.names import NUMBER_BY_NUMBER, WITH_DERIVATIVE
from impls.structured.jax.products import RULES, SUMS, find_use
from impls.structured.rules import RuleBook

RESHAPING = ("reshape", "squeeze", "expand_dims")


def _number(step: Step, position: int) -> float | None:
    """Other than 0."""
    other, same_shape = step.inputs[1 - position], step.inputs[position].shape == step.outputs[0].shape
    if not isinstance(other, Constant) or np.size(other.value) != 1 or not same_shape:
        return None
    if not jnp.issubdtype(jnp.result_type(other.value), jnp.floating):
        return None
    return float(np.asarray(other.value).reshape(())) or None


def _keeps_order(step: Step) -> bool:
    if step.name == "transpose":  # as `vmap` puts behind a matrix times a vector: only axes of length 1 move
        long = [axis for axis in step.params["permutation"] if step.inputs[0].shape[axis] > 1]
        return long == sorted(long)
    same_size = math.prod(step.inputs[0].shape) == math.prod(step.outputs[0].shape) if step.inputs else False
    return step.name in RESHAPING and len(step.inputs) == 1 and same_size


def _number_by_number(step: Step) -> bool:
    return derivative_is_number_by_number(step) if step.name in WITH_DERIVATIVE else step.name in NUMBER_BY_NUMBER


def _summed_axes(step: Step) -> Sequence[int] | None:
    return step.params["axes"] if step.name == "reduce_sum" else None


def _is(kind: Any, dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, kind))


BOOK = RuleBook(
    products=frozenset(RULES),
    find_use=find_use,
    arranged=lambda use, numbers: np.asarray(use.arrange(numbers)),
    number=_number,
    keeps_order=_keeps_order,
    number_by_number=_number_by_number,
    summed_axes=_summed_axes,
    is_real=lambda dtype: _is(np.floating, dtype),
    is_differentiable=lambda dtype: _is(jnp.inexact, dtype),
    rearranging=frozenset(("reshape", "transpose", "squeeze", "slice", "rev", "dynamic_slice", "broadcast_in_dim",
                           "expand_dims")),
    passing=frozenset(("copy", "copy_p", "convert_element_type", "name", "optimization_barrier")),
    taking=frozenset(("reshape", "transpose", "squeeze", "expand_dims", "rev", "slice", "broadcast_in_dim", "copy",
                      "copy_p")),
    linear=frozenset(("reduce_sum", "neg", "cumsum", "reduce_window_sum", "convert_element_type", "name",
                      "optimization_barrier", "split", "unstack")),
    sums=SUMS,
    joining=frozenset(("concatenate", "pad")),
    bilinear=frozenset(("mul", "dot_general")),
    linear_in_first=frozenset(("div", "conv_general_dilated")),
    casts=frozenset(("convert_element_type",)),
    stops=frozenset(("stop_gradient",)),
    concatenation=lambda step: step.params["dimension"] if step.name == "concatenate" else None,
    opened=opened,
    forward_only=lambda step: loops(step.primitive.name, step.params),
)
