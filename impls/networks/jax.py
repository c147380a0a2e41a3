"""The shared networks in plain JAX: `f(params, x)` with the reference's own names and layouts.

Batched: x is (N, …), and the answer (N, O), or (N, …) with the axes of the last of the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import jax
from jax import lax
from jax.tree_util import Partial

from impls.frameworks.jax.convolutions import padded
from impls.networks.jax_layers import ACTIVATIONS, through
from reference import MLP, Conv, ConvNet, Layered, Network
from reference.networks import bias_scale, weight_scale

Params = Mapping[str, jax.Array]


def forward(network: Network, constants: Params) -> Callable[[Params, jax.Array], jax.Array]:
    """The network as ``f(params, x)``; raises `TypeError` for a description that is not of the reference."""
    return Partial(forward_of(network), constants)  # the constants are arguments, not compiled in


@cache
def forward_of(network: Network) -> Callable[[Params, Params, jax.Array], jax.Array]:
    """``f(constants, params, x)``: one function for each network, so that it is compiled once for its shapes."""
    if isinstance(network, Layered):
        return lambda constants, params, x: through(network.layers, {**constants, **params}, x)
    if isinstance(network, MLP):
        return lambda constants, params, x: _dense_layers(network, params, x, network.n_layers)
    if isinstance(network, ConvNet):
        return lambda constants, params, x: _conv_net(network, params, x)
    raise TypeError(f"plain JAX builds MLP, ConvNet and Layered, got {type(network).__name__}")


def _conv_net(network: ConvNet, params: Params, x: jax.Array) -> jax.Array:
    act = ACTIVATIONS[network.activation]
    for i, conv in enumerate(network.convs):
        x = _pool(act(_conv(network, params, x, i, conv)), conv)
    x = x.mean(axis=(2, 3)) if network.head == "global" else x.reshape(x.shape[0], -1)
    return _dense_layers(network, params, x, len(network.dense))


def _conv(network: ConvNet, params: Params, x: jax.Array, i: int, conv: Conv) -> jax.Array:
    weight = params[f"conv{i}.weight"]
    x, padding = padded(x, conv.kernel, conv.stride, conv.padding)
    x = weight_scale(network, weight.shape) * lax.conv_general_dilated(
        x, weight, conv.stride, [(pad, pad) for pad in padding], dimension_numbers=("NCHW", "OIHW", "NCHW"))
    return x + bias_scale(network) * params[f"conv{i}.bias"][:, None, None] if network.bias else x


def _pool(x: jax.Array, conv: Conv) -> jax.Array:
    if conv.pool is None:
        return x
    height, width = conv.pool
    window = (1, 1, height, width)
    return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / (height * width)


def _dense_layers(network: MLP | ConvNet, params: Params, x: jax.Array, n_layers: int) -> jax.Array:
    act = ACTIVATIONS[network.activation]
    for i in range(n_layers):
        weight = params[f"dense{i}.weight"]
        x = weight_scale(network, weight.shape) * (x @ weight.T)
        if network.bias:
            x = x + bias_scale(network) * params[f"dense{i}.bias"]
        if i < n_layers - 1:
            x = act(x)
    return x
