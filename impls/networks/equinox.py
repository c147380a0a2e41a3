"""The shared networks from Equinox's own layers, and any Equinox module as a batched function of its parameters.

Equinox's convention: a module takes one example. Its parameters are its floating-point JAX arrays (the leaves that
`eqx.is_inexact_array` finds); integers, flags and functions stay as they are. Layers tied by `eqx.nn.Shared` hold one
array, hence one parameter; the same array put in two places without it is two parameters, as everywhere in Equinox.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from impls.frameworks.jax import params as jax_params
from impls.frameworks.jax import support as jax_support
from impls.frameworks.jax.params import Split
from impls.frameworks.jax.support import Functional, place, precision
from impls.given.user_network import UserNetwork
from impls.networks import equinox_layers
from impls.networks.jax_layers import ACTIVATIONS
from reference import MLP, Case, ConvNet, InputError, Layered, Network, Request
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


class OverExamples(eqx.Module):
    """``f(module, x)`` of a batch; `state` is what a module with state was made with, or None. `called`: its method."""

    called: Callable[..., Any] = eqx.field(static=True)
    state: Any = None

    def __call__(self, module: Any, *x: Any, **by_name: Any) -> jax.Array:
        if self.state is None:
            return jax.vmap(lambda x, by_name: module(*x, **by_name))(x, by_name)
        return jax.vmap(lambda x, by_name: module(*x, self.state, **by_name)[0])(x, by_name)


def functional(case: Case, request: Request) -> Functional:
    """As `jax_support.functional`, with the shared networks built from Equinox's layers."""
    if isinstance(case.network, UserNetwork):
        return jax_support.functional(case, request)
    with precision(request.dtype):
        params = place(dict(case.params), request)
        if isinstance(case.network, Layered):
            built = equinox_layers.build(case.network, params, place(dict(case.constants), request))
        else:
            built = build(case.network, params), None
        f, params = batched(*built)
        return Functional(f, params, *place((case.x1, case.x2), request))


def batched(model: Any, params: Any = None) -> tuple[jax_support.Batched, Any]:
    """The module as ``f(params, x)`` of a batch with its parameters, {name: array}; see `split`."""
    f, leaves = split(model, params)
    return f, jax_params.arrays(leaves)


def split(model: Any, params: Any = None) -> Split:
    """The module in inference mode as a function of its parameters; a module with state as a pair (module, state).

    `params` None takes all its floating-point and complex arrays. To freeze some, give the trainable part, as in
    ``params, _ = eqx.partition(model, filter_spec)``: the model with None in place of all that is not trained; its
    values are used. Raises `InputError` for params of another structure.
    """
    model, state = model if isinstance(model, tuple) else (model, None)
    model = eqx.nn.inference_mode(model)
    trained = jax.tree.map(_trained, model, is_leaf=_is_state)
    if params is not None:
        params = eqx.filter(params, eqx.is_inexact_array)
        if not jax.tree.leaves(params):
            raise InputError("params holds no floating-point array; give the trainable part of the model itself, "
                             "params, _ = eqx.partition(model, filter_spec)")
        try:
            trained = jax.tree.map(lambda ours, theirs: _none_of(theirs) if ours is None else theirs, params, trained,
                                   is_leaf=lambda leaf: leaf is None)
            model = eqx.combine(params, model)
        except ValueError as error:
            raise InputError("params does not have the structure of the model; give params, _ = eqx.partition(model, "
                             f"filter_spec) ({error})") from error
    return jax_params.split(OverExamples(type(model).__call__, state), model, jax.tree.leaves(trained))


def of_part(model: Any, params: Any = None) -> tuple[Callable[[Any, Any], jax.Array], Any]:
    """The module in inference mode as ``f(params, x)`` of a batch, with parameters in the module's own structure: None
    in place of all that is not trained, as `eqx.partition` gives it."""
    model, state = model if isinstance(model, tuple) else (model, None)
    model = eqx.nn.inference_mode(model)
    if params is None:
        params = eqx.filter(model, jax.tree.map(_trained, model, is_leaf=_is_state))
    over = OverExamples(type(model).__call__, state)
    return lambda part, x: over(eqx.combine(part, model), x), params


def _trained(part: Any) -> Any:
    """Of each leaf whether it is a parameter; running statistics and other states are none, wherever they are held."""
    return _none_of(part) if _is_state(part) else eqx.is_inexact_array(part)


def _none_of(part: Any) -> Any:
    return jax.tree.map(lambda _: False, part)


def _is_state(part: Any) -> bool:
    return isinstance(part, eqx.nn.State | eqx.nn.StateIndex)


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
        layer = partial(eqx.nn.Conv2d, channels, conv.channels, conv.kernel, conv.stride, conv.padding)
        layers += [_loaded(network, layer, f"conv{i}", params), eqx.nn.Lambda(ACTIVATIONS[network.activation])]
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
