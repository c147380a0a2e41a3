"""The shared networks from Equinox's own layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from impls.frameworks.jax.equinox import batched
from impls.frameworks.jax.support import place, precision
from impls.given.user_network import UserNetwork
from impls.networks import equinox_layers, jax_case
from impls.networks.jax_layers import ACTIVATIONS
from impls.networks.jax_native import Functional
from reference import MLP, Case, ConvNet, Layered, Network, Request
from reference.networks import bias_scale, weight_scale

Layer = eqx.nn.Linear | eqx.nn.Conv2d


class NTKScaled(eqx.Module):
    """A layer in the NTK parameterization: parameters of order one, scaled where they are used."""

    layer: Layer
    weight_scale: float = eqx.field(static=True)
    bias_scale: float = eqx.field(static=True)

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key  # eqx.nn.Sequential hands one to every layer
        scaled = eqx.tree_at(lambda layer: layer.weight, self.layer, self.weight_scale * self.layer.weight)
        if self.layer.bias is not None:
            scaled = eqx.tree_at(lambda layer: layer.bias, scaled, self.bias_scale * self.layer.bias)
        return scaled(x)


def functional(case: Case, request: Request) -> Functional:
    """As `jax_case.functional`, with the shared networks built from Equinox's layers."""
    if isinstance(case.network, UserNetwork):
        return jax_case.functional(case, request)
    with precision(request.dtype):
        params = place(dict(case.params), request)
        if isinstance(case.network, Layered):
            built = equinox_layers.build(case.network, params, place(dict(case.constants), request))
        else:
            built = build(case.network, params), None
        f, params = batched(*built)
        return Functional(f, params, *place((case.x1, case.x2), request))


def build(network: Network, params: dict[str, jax.Array]) -> eqx.nn.Sequential:
    """The shared MLP or ConvNet with these parameters; takes one example."""
    if isinstance(network, MLP):
        return eqx.nn.Sequential(_dense_layers(network, network.widths, params))
    if isinstance(network, ConvNet):
        return eqx.nn.Sequential(_conv_layers(network, params) + _dense_layers(network, network.dense_widths, params))
    raise TypeError(f"Equinox builds MLP and ConvNet, got {type(network).__name__}")


def _conv_layers(network: ConvNet, params: dict[str, jax.Array]) -> list[Any]:
    layers: list[Any] = []
    for i, conv in enumerate(network.convs):
        channels = network.feature_shapes()[i][0]
        before, padding = equinox_layers.zeros_before(conv.kernel, conv.stride, conv.padding)
        layer = partial(eqx.nn.Conv2d, channels, conv.channels, conv.kernel, conv.stride, padding)
        layers += [*before, _loaded(network, layer, f"conv{i}", params), eqx.nn.Lambda(ACTIVATIONS[network.activation])]
        if conv.pool is not None:
            layers.append(eqx.nn.AvgPool2d(conv.pool, conv.pool))
    return [*layers, eqx.nn.Lambda(_global_mean if network.head == "global" else jnp.ravel)]


def _dense_layers(network: MLP | ConvNet, widths: tuple[int, ...], params: dict[str, jax.Array]) -> list[Any]:
    layers: list[Any] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        layer = partial(eqx.nn.Linear, fan_in, fan_out)
        layers += [_loaded(network, layer, f"dense{i}", params), eqx.nn.Lambda(ACTIVATIONS[network.activation])]
    return layers[:-1]


def _loaded(network: MLP | ConvNet, make: Callable[..., Layer], name: str,
            params: dict[str, jax.Array]) -> Layer | NTKScaled:
    weight = params[f"{name}.weight"]
    # Its shapes are enough: drawing random parameters only to replace them would take most of the time.
    layer: Any = eqx.filter_eval_shape(lambda: make(use_bias=network.bias, key=jax.random.key(0)))
    layer = eqx.tree_at(lambda layer: layer.weight, layer, weight)
    if layer.bias is not None:
        bias = params[f"{name}.bias"].reshape(layer.bias.shape)  # Conv2d keeps it as (channels, 1, 1)
        layer = eqx.tree_at(lambda layer: layer.bias, layer, bias)
    if network.parameterization == "standard":
        return layer
    return NTKScaled(layer, weight_scale(network, weight.shape), bias_scale(network))


def _global_mean(x: jax.Array) -> jax.Array:
    return x.mean(axis=(1, 2))
