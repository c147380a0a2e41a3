"""Convolutions on which XLA for the CPU ends the process, and how the networks here go round them.

Where that is less work, XLA's simplifier exchanges a convolution's input and kernel. An axis with a kernel of 2 over an
input that is dilated by 2, with steps of 1 and no padding, it takes for one that need not be exchanged, and then finds
the shapes at odds: "Check failed: … Window dimensions do not match RHS shape", and the process ends (jaxlib 0.8.0 to
0.10.2). The gradient in the input of a convolution is of that form where on one axis the kernel is 2, the stride 2 and
the padding 1, and the kernel is larger than the outputs on the other axes. Zeros that are put around the input before,
instead of by the convolution, mean the same and avoid it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr

from impls.frameworks.jax.support import jaxprs_in

Lengths = tuple[int, ...]


class Axis(NamedTuple):
    """A convolution along one axis of its input."""

    size: int
    """Of the input."""
    kernel: int
    stride: int
    padding: tuple[int, int]
    dilation: int
    """Of the kernel."""
    spread: int
    """The input's dilation."""

    @property
    def outputs(self) -> int:
        whole = self.spread * (self.size - 1) + 1 + sum(self.padding)
        return (whole - (self.dilation * (self.kernel - 1) + 1)) // self.stride + 1

    @property
    def of_gradient(self) -> Axis:
        """The convolution of the outputs' gradient that gives the input's."""
        reach, dilated = self.dilation * (self.kernel - 1), self.stride * (self.outputs - 1) + 1
        low = reach - self.padding[0]
        high = self.spread * (self.size - 1) + 1 + reach - low - dilated
        return Axis(self.outputs, self.kernel, self.spread, (low, high), self.dilation, self.stride)

    @property
    def stays(self) -> bool:
        """Where XLA exchanges kernel and input along other axes, it takes this one as it is."""
        if self.padding != (0, 0) or self.dilation != 1:
            return False
        return ((self.spread, self.stride) == (self.kernel, self.kernel - 1)
                or (self.size, self.spread, self.stride) == (self.kernel, 1, 1))

    @property
    def steps_exchanged(self) -> int:
        """Of the kernel that the input is then."""
        reach = (self.kernel - 1,) * 2
        one = (self.size, self.stride, self.dilation, self.padding) == (1, 1, 1, reach)
        return self.kernel if one else self.size


def ends_the_process(axes: Sequence[Axis]) -> bool:
    """Whether XLA for the CPU does on this convolution, without groups."""
    others = [axis for axis in axes if not axis.stays]
    if math.prod(axis.kernel for axis in others) <= math.prod(axis.steps_exchanged for axis in others):
        return False
    return any(axis.stays and axis.size != axis.kernel for axis in axes)


def ending_the_process(jaxpr: Jaxpr) -> Iterator[str]:
    """The convolutions in it on which, or on whose gradient in the input, XLA for the CPU does so, and remedies."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "conv_general_dilated" and eqn.params["feature_group_count"] == 1:
            axes = _axes(eqn)
            if ends_the_process(axes):
                yield f"{_shown(axes)}; give it one more zero of padding at the end of an axis, and cut that output off"
            elif ends_the_process([axis.of_gradient for axis in axes]):
                yield f"{_shown(axes)}; put the zeros around its input before it, by jnp.pad, and give it no padding"
        for inner in jaxprs_in(eqn.params):
            yield from ending_the_process(inner)


def _shown(axes: Sequence[Axis]) -> str:
    kernel, stride, padding, size = zip(*((axis.kernel, axis.stride, axis.padding, axis.size) for axis in axes),
                                        strict=True)
    return f"inputs of {size} by a kernel of {kernel}, with strides of {stride} and padding of {padding}"


def _axes(eqn: Any) -> list[Axis]:
    given, kernel = (v.aval.shape for v in eqn.invars)
    numbers, of = eqn.params["dimension_numbers"], eqn.params
    return [Axis(given[i], kernel[k], stride, tuple(pads), dilation, spread) for i, k, stride, pads, dilation, spread
            in zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], of["window_strides"], of["padding"], of["rhs_dilation"],
                   of["lhs_dilation"], strict=True)]


def is_padded_before(kernel: Lengths, stride: Lengths, padding: Lengths) -> bool:
    """Whether the zeros of a convolution of these, with as many on both sides, are put around its input before."""
    return any(each == (2, 2, 1) for each in zip(kernel, stride, padding, strict=True))


def padded(x: jax.Array, kernel: Lengths, stride: Lengths, padding: Lengths) -> tuple[jax.Array, Lengths]:
    """x, with these zeros where they are put around it before, and the padding that is left to the convolution."""
    if not is_padded_before(kernel, stride, padding):
        return x, padding
    return with_zeros(x, padding), (0,) * len(padding)


def with_zeros(x: jax.Array, padding: Lengths) -> jax.Array:
    """x with that many zeros on both sides of its last axes."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - len(padding)) + [(pad, pad) for pad in padding])
