"""The shared networks from Flax NNX's own layers, as its users write and initialise them.

Flax's conventions: images are (N, height, width, channels), kernels (in, out) and (height, width, in, out), so that
images are transposed on entry, and flattened in another order: to the average over initialisations it is all one.
"""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from impls.networks.jax_layers import ACTIVATIONS
from reference import MLP, Conv, ConvNet
from reference.networks import bias_scale, fan_in, weight_scale

normal = nnx.initializers.normal


class Scaled(nnx.Module):
    """A layer in the NTK parameterization: parameters of order one, scaled where they are used."""

    def __init__(self, layer: Any, n_outputs: int, weight_scale: float, bias_scale: float | None, dtype: str,
                 rngs: nnx.Rngs) -> None:
        self.layer, self.weight_scale, self.bias_scale = layer, weight_scale, bias_scale
        self.bias = None if bias_scale is None else nnx.Param(normal(1.0)(rngs.params(), (n_outputs,), dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.weight_scale * self.layer(x)
        return y if self.bias is None or self.bias_scale is None else y + self.bias_scale * self.bias[...]


class Built(nnx.Module):
    """The shared MLP or ConvNet, freshly initialised; takes a batch, images as (N, channels, height, width)."""

    def __init__(self, network: MLP | ConvNet, dtype: str, rngs: nnx.Rngs) -> None:
        self.activation = ACTIVATIONS[network.activation]
        convs = network.convs if isinstance(network, ConvNet) else ()
        self.convs = nnx.List([_conv(network, conv, i, dtype, rngs) for i, conv in enumerate(convs)])
        self.pools = tuple(conv.pool for conv in convs)
        self.is_global = isinstance(network, ConvNet) and network.head == "global"
        widths = network.dense_widths if isinstance(network, ConvNet) else network.widths
        self.dense = nnx.List([_dense(network, each, widths[i + 1], dtype, rngs) for i, each in enumerate(widths[:-1])])

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.transpose(0, 2, 3, 1) if len(self.convs) else x
        for conv, pool in zip(self.convs, self.pools, strict=True):
            x = self.activation(conv(x))
            x = x if pool is None else nnx.avg_pool(x, pool, pool)
        if len(self.convs):
            x = x.mean(axis=(1, 2)) if self.is_global else x.reshape(len(x), -1)
        *hidden, last = self.dense
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


def _dense(network: MLP | ConvNet, inputs: int, outputs: int, dtype: str, rngs: nnx.Rngs) -> Any:
    return _layer(network, (outputs, inputs), dtype, rngs, lambda **settings: nnx.Linear(inputs, outputs, **settings))


def _conv(network: MLP | ConvNet, conv: Conv, i: int, dtype: str, rngs: nnx.Rngs) -> Any:
    assert isinstance(network, ConvNet)
    channels = network.feature_shapes()[i][0]
    padding = [(pad, pad) for pad in conv.padding]
    return _layer(network, (conv.channels, channels, *conv.kernel), dtype, rngs, lambda **settings: nnx.Conv(
        channels, conv.channels, conv.kernel, conv.stride, padding=padding, **settings))


def _layer(network: MLP | ConvNet, weight_shape: tuple[int, ...], dtype: str, rngs: nnx.Rngs, make: Any) -> Any:
    ntk = network.parameterization == "ntk"
    std = 1.0 if ntk else network.W_std / fan_in(weight_shape) ** 0.5
    layer = make(use_bias=network.bias and not ntk, kernel_init=normal(std), bias_init=normal(network.b_std),
                 param_dtype=dtype, precision="highest", rngs=rngs)
    if not ntk:
        return layer
    return Scaled(layer, weight_shape[0], weight_scale(network, weight_shape),
                  bias_scale(network) if network.bias else None, dtype, rngs)
