"""The shared networks in neural-tangents' own layers, for its finite-width methods and its infinite-width kernels.

Conventions of stax, converted here: images are (N, height, width, channels); dense weights (fan_in, fan_out); those of
convolutions (height, width, fan_in, fan_out); flattening is in the order height, width, channels, so the dense layer
after it has its inputs permuted. The parameters are the reference's own in another order: the kernel is the same.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.neural_tangents import load
from impls.frameworks.jax.support import place, precision
from impls.networks.jax_native import Functional
from reference import MLP, Case, Conv, ConvNet, Request

load()
from neural_tangents import stax  # noqa: E402  (only importable once loaded)

Layer = tuple[Any, Any, Any]
"""(init_fn, apply_fn, kernel_fn)"""

ACTIVATIONS = {
    "relu": stax.Relu,
    "tanh": lambda: stax.Elementwise(jnp.tanh),  # no closed form: its kernel_fn raises
    "erf": stax.Erf,
    "gelu": lambda: stax.Gelu(approximate=False),
    "sin": stax.Sin,
}


def functional(case: Case, request: Request) -> Functional:
    """The case's MLP or ConvNet as stax's own apply function, with parameters and inputs in stax's layout."""
    network = case.network
    assert isinstance(network, MLP | ConvNet)
    _, apply_fn, _ = layers(network)
    x1, x2 = inputs(case, request)
    return Functional(apply_fn, _place(parameters(network, case.params), request), x1, x2)


def inputs(case: Case, request: Request) -> tuple[jax.Array, jax.Array | None]:
    """x1 and x2 in stax's layout, the request's dtype, and on its device."""
    def to_layout(x: np.ndarray | None) -> np.ndarray | None:
        return x.transpose(0, 2, 3, 1) if x is not None and x.ndim == 4 else x

    return _place((to_layout(case.x1), to_layout(case.x2)), request)


def _place(tree: Any, request: Request) -> Any:
    with precision(request.dtype):
        return place(tree, request)


@cache
def layers(network: MLP | ConvNet) -> Layer:
    """The network as stax's triple (init_fn, apply_fn, kernel_fn): one for each, compiled once for its shapes."""
    convolutional = _conv_layers(network) if isinstance(network, ConvNet) else []
    return stax.serial(*convolutional, *_dense_layers(network))


def parameters(network: MLP | ConvNet, params: Any) -> list[Any]:
    """The reference's parameters as the list that stax's apply function takes: a pair (W, b) or () for each layer."""
    convolutional = _conv_parameters(network, params) if isinstance(network, ConvNet) else []
    return [*convolutional, *_dense_parameters(network, params)]


def padding_name(conv: Conv, height: int, width: int) -> str | None:
    """"VALID" or "SAME" where it pads as `conv` does on an image of that size, else None."""
    if conv.padding == (0, 0):
        return "VALID"
    axes = zip((height, width), conv.kernel, conv.stride, conv.padding, strict=True)
    return "SAME" if all(_pads_same(*axis) for axis in axes) else None


def _pads_same(size: int, kernel: int, stride: int, padding: int) -> bool:
    """Whether "SAME", which gives ⌈size/stride⌉ pixels and pads unevenly where it must, adds `padding` at both ends."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total == 2 * padding


def _conv_layers(network: ConvNet) -> list[Layer]:
    result: list[Layer] = []
    for conv, (_, height, width) in zip(network.convs, network.feature_shapes(), strict=False):
        padding = padding_name(conv, height, width)
        if padding is None:
            result.append(_pad(conv))
        result.append(stax.Conv(conv.channels, conv.kernel, conv.stride, padding or "VALID", **_scales(network)))
        result.append(ACTIVATIONS[network.activation]())
        if conv.pool is not None:
            result.append(stax.AvgPool(conv.pool, conv.pool))
    result.append(stax.GlobalAvgPool() if network.head == "global" else stax.Flatten())
    return result


def _conv_parameters(network: ConvNet, params: Any) -> list[Any]:
    result: list[Any] = []
    for i, (conv, (_, height, width)) in enumerate(zip(network.convs, network.feature_shapes(), strict=False)):
        weight, bias = params[f"conv{i}.weight"].transpose(2, 3, 1, 0), params.get(f"conv{i}.bias")
        padded = padding_name(conv, height, width) is None
        result += [()] * padded + [(weight, None if bias is None else bias[None, None, None]), ()]
        result += [()] * (conv.pool is not None)
    return [*result, ()]


def _dense_layers(network: MLP | ConvNet) -> list[Layer]:
    widths = network.widths[1:] if isinstance(network, MLP) else network.dense
    result = [stax.Dense(widths[0], **_scales(network))]
    for width in widths[1:]:
        result += [ACTIVATIONS[network.activation](), stax.Dense(width, **_scales(network))]
    return result


def _dense_parameters(network: MLP | ConvNet, params: Any) -> list[Any]:
    widths = network.widths if isinstance(network, MLP) else network.dense_widths
    result: list[Any] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        weight, bias = params[f"dense{i}.weight"], params.get(f"dense{i}.bias")
        if i == 0 and isinstance(network, ConvNet) and network.head == "flatten":
            images = weight.reshape(fan_out, *network.feature_shapes()[-1])
            weight = images.transpose(0, 2, 3, 1).reshape(fan_out, fan_in)
        result += [()] * (i > 0) + [(weight.T, None if bias is None else bias[None])]
    return result


def _scales(network: MLP | ConvNet) -> dict[str, Any]:
    return {"W_std": network.W_std, "b_std": network.b_std if network.bias else None,
            "parameterization": network.parameterization}


def _pad(conv: Conv) -> Layer:
    """Zeros around the image: padding that stax's names cannot say. It has no infinite-width kernel."""
    (top, left), channels_last = conv.padding, (0, 0)

    def apply_fn(params: Any, x: jax.Array, **_: Any) -> jax.Array:
        return jnp.pad(x, ((0, 0), (top, top), (left, left), channels_last))

    def kernel_fn(k: Any, **_: Any) -> Any:
        raise NotImplementedError("zero padding by an explicit amount has no kernel in stax")

    return lambda rng, shape: (shape, ()), apply_fn, kernel_fn
