"""Mistakes in the networks that JAX's methods differentiate, in plain JAX and in Equinox: one layer wrong in each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from impls.networks import (
    equinox as equinox_networks,
)
from impls.networks import (
    equinox_layers,
    jax_layers,
)
from impls.networks import (
    jax as jax_networks,
)
from impls.networks import (
    stax as stax_networks,
)
from reference import layers
from tests.mutants.mutant import Mutant, Patch, attribute, described_as, entry, layer, patched

NT, NT_PRODUCTS, NT_STRUCTURED, ENGINE, EQUINOX = (
    "neural_tangents.jacobian_contraction", "neural_tangents.ntk_vector_products",
    "neural_tangents.structured_derivatives", "structured_jax", "equinox.exact")


def _plain(kind: type, apply: Callable[..., jax.Array]) -> Patch:
    """``apply(original, layer, arrays, x)`` for one kind of layer in plain JAX."""
    return layer(jax_layers.apply, kind, apply)


def _plain_described(kind: type, **changes: Any) -> Patch:
    return described_as(jax_layers.apply, kind, lambda one: replace(one, **changes))


def _equinox(kind: type, build: Callable[..., Any]) -> Patch:
    """``build(original, layer, shape, table)`` for one kind of layer in Equinox."""
    return layer(equinox_layers.module, kind, build)


def _equinox_described(kind: type, **changes: Any) -> Patch:
    return described_as(equinox_layers.module, kind, lambda one: replace(one, **changes))


def _activation(name: str, function: Callable[[jax.Array], jax.Array]) -> Patch:
    """In both builds, and in those of MLP and ConvNet."""
    return entry(jax_layers.ACTIVATIONS, name, function)


def _with_slope(function: Callable[[jax.Array], jax.Array],
                slope: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """A function with a derivative of its own."""

    @jax.custom_jvp
    def wrong(x: jax.Array) -> jax.Array:
        return function(x)

    wrong.defjvp(lambda primals, tangents: (function(*primals), slope(*primals) * tangents[0]))
    return wrong


class Reversed(eqx.Module):
    """The sequence is read backwards."""

    cell: Any

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        return self.cell(x[::-1])


class BodyOnly(eqx.Module):
    residual: Any

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        return self.residual.body(x)


class FutureSeen(eqx.Module):
    """A position attends to the one after it."""

    attention: Any

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        return self.attention.attention(x, x, x, mask=jnp.tril(jnp.ones((len(x), len(x)), bool), 1))


def _attention(scale: Callable[[int, int], float] = lambda width, of_head: math.sqrt(of_head), diagonal: int = 0,
               interleaved: bool = False) -> Patch:
    def apply(original: Any, described: layers.Attention, arrays: Any, x: jax.Array) -> jax.Array:
        n, length, width = x.shape
        projected = x @ arrays[f"{described.name}.in_proj_weight"].T + arrays[f"{described.name}.in_proj_bias"]
        axes = (n, length, described.n_heads, 3, -1) if interleaved else (n, length, 3, described.n_heads, -1)
        query, key, value = projected.reshape(axes).transpose((3, 0, 2, 1, 4) if interleaved else (2, 0, 3, 1, 4))
        scores = query @ key.swapaxes(-1, -2) / scale(width, query.shape[-1])
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool), diagonal), scores, -jnp.inf)
        joined = (jax.nn.softmax(scores) @ value).swapaxes(1, 2).reshape(n, length, width)
        return joined @ arrays[f"{described.name}.out_proj.weight"].T + arrays[f"{described.name}.out_proj.bias"]

    return _plain(layers.Attention, apply)


def _truncated(original: Any, described: layers.Recurrent, arrays: Any, x: jax.Array) -> jax.Array:
    weight_ih, weight_hh, bias_ih, bias_hh = (arrays[f"{described.name}.{role}"]
                                              for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    state = jnp.zeros((x.shape[0], described.width), x.dtype)
    for step in range(x.shape[1]):
        state = jnp.tanh(x[:, step] @ weight_ih.T + bias_ih + lax.stop_gradient(state) @ weight_hh.T + bias_hh)
    return state


def _training_norm(original: Any, described: layers.BatchNorm, arrays: Any, x: jax.Array) -> jax.Array:
    gain, bias = (arrays[f"{described.name}.{role}"][:, None, None] for role in ("weight", "bias"))
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return gain * (x - mean) * lax.rsqrt(variance + described.eps) + bias


def _without(*roles: str) -> Callable[..., jax.Array]:
    """The arrays of these roles have no derivative."""
    def apply(original: Any, described: Any, arrays: Any, x: jax.Array) -> jax.Array:
        some = {name: lax.stop_gradient(array) for name, array in arrays.items() if name.rpartition(".")[2] in roles}
        return original(described, {**arrays, **some}, x)

    return apply


def _dilation_ignored(original: Any, described: layers.Convolution, arrays: Any, x: jax.Array) -> jax.Array:
    right = original(described, arrays, x)
    dense = original(replace(described, dilation=(1, 1)), arrays, x)
    return dense[:, :, :right.shape[2], :right.shape[3]]


def _groups_as_dense(original: Any, described: layers.Convolution, arrays: Any, x: jax.Array) -> jax.Array:
    name = f"{described.name}.weight"
    weight = jnp.tile(arrays[name], (1, described.groups, 1, 1))
    return original(replace(described, groups=1), {**arrays, name: weight}, x)


def _pooled_shortcut(original: Any, described: layers.Convolution, arrays: Any, x: jax.Array) -> jax.Array:
    """A 1×1 shortcut after an average over its stride, where it is meant to skip pixels."""
    if described.name != "shortcut":
        return original(described, arrays, x)
    window = (1, 1, *described.stride)
    sums, counts = (lax.reduce_window(y, 0.0, lax.add, window, window, "SAME") for y in (x, jnp.ones_like(x)))
    return original(replace(described, stride=(1, 1)), arrays, sums / counts)


def _second_use_detached(original: Any, described: layers.Dense, arrays: Any, x: jax.Array) -> jax.Array:
    name = f"{described.name}.weight"
    tied = {**arrays, name: lax.stop_gradient(arrays[name])} if described.name == "tokens" else arrays
    return original(described, tied, x)


def _length_detached(described: layers.WeightNormDense, arrays: Any, x: jax.Array) -> jax.Array:
    direction = arrays[f"{described.name}.weight_v"]
    length = lax.stop_gradient(jnp.linalg.norm(direction, axis=1, keepdims=True))
    return x @ (arrays[f"{described.name}.weight_g"] * direction / length).T + arrays[f"{described.name}.bias"]


def _not_reordered(network: Any, params: Any) -> list[Any]:
    """As for a head that is pooled, whose inputs are channels only."""
    right = _dense_parameters(network, params)
    first = params["dense0.weight"].T, right[0][1]
    return [first, *right[1:]]


_dense_parameters = stax_networks._dense_parameters


def _output_activated(network: Any, params: Any, x: jax.Array, n_layers: int) -> jax.Array:
    return jax_layers.ACTIVATIONS[network.activation](_dense_layers(network, params, x, n_layers))


_dense_layers = jax_networks._dense_layers


def _clipped(x: jax.Array) -> jax.Array:
    return jnp.clip(x, 0, 6)


def _mutant(name: str, item: str, architecture: str, what: str, patch: Patch, case: str | None, base: str = ENGINE,
            **options: Any) -> Mutant:
    return Mutant(f"jax.{name}", item, architecture, what, base, patched(patch), case, **options)


def _in_equinox(name: str, item: str, architecture: str, what: str, patch: Patch, case: str) -> Mutant:
    return Mutant(f"equinox.{name}", item, architecture, what, EQUINOX, patched(patch), case)


MUTANTS = (
    _mutant("no_biases_transformer", "1", "transformer", "the biases of dense layers have no derivative",
            _plain(layers.Dense, _without("bias")), "transformer", NT),
    _mutant("no_biases_residual", "1", "residual ConvNet", "the biases of convolutions have no derivative",
            _plain(layers.Convolution, _without("bias")), "residual_batch_norm"),
    _mutant("no_biases_recurrent", "1", "recurrent", "one of the two biases has no derivative",
            _plain(layers.Recurrent, _without("bias_hh")), "recurrent", NT),
    _mutant("no_norm_gain", "1", "norms", "the gain of RMSNorm has no derivative",
            _plain(layers.RMSNorm, _without("weight")), "norms", NT),
    _mutant("output_activated", "2", "MLP", "the activation follows the output layer as well",
            attribute(jax_networks, "_dense_layers", _output_activated), "mlp_gelu"),
    _mutant("tied_counted_once", "3", "transformer", "the output layer reads the embedding's values, detached",
            _plain(layers.Dense, _second_use_detached), "transformer"),
    _mutant("truncated_backpropagation", "3", "recurrent", "the state is detached at each step",
            _plain(layers.Recurrent, _truncated), "recurrent", NT),
    _mutant("ntk_scaling", "17", "MLP", "d for √d in the NTK scaling",
            attribute(jax_networks, "weight_scale", lambda network, shape: network.W_std / shape[-1]), "mlp_tanh_ntk"),
    _mutant("tanh_gelu", "17", "transformer", "GELU in its tanh approximation", _activation("gelu", jax.nn.gelu),
            "transformer"),
    _mutant("relu6", "", "MLP", "ReLU6 for ReLU", _activation("relu", _clipped), None,
            check="test_as_many_examples_in_x2"),
    _mutant("relu_at_0", "17", "MLP", "max(x, 0), whose derivative at 0 JAX takes as 1/2",
            _activation("relu", lambda x: jnp.maximum(x, 0)), None, check="test_relu_at_0"),
    _mutant("tanh_slope", "17", "tied dense", "the derivative of tanh is 1 − |tanh|",
            _plain(layers.Activate, lambda original, described, arrays, x: _with_slope(
                jnp.tanh, lambda x: 1 - jnp.abs(jnp.tanh(x)))(x) if described.function == "tanh"
                else original(described, arrays, x)), "tied_dense"),
    _mutant("siren_slope", "17", "coordinate network", "the derivative of sin(ω x) without its factor ω",
            _plain(layers.Activate, lambda original, described, arrays, x: _with_slope(
                lambda x: jnp.sin(30 * x), lambda x: jnp.cos(30 * x))(x)), "fourier_siren", NT),
    _mutant("sinc_pi", "17", "coordinate network", "NumPy's sinc, with a π inside",
            _plain(layers.Activate, lambda original, described, arrays, x: jnp.sinc(3 * x)
                   if described.function == "sinc" else original(described, arrays, x)), "sinc_wire", NT),
    _mutant("finer_slope", "17", "coordinate network", "no derivative of FINER's |x| + 1",
            _plain(layers.Activate, lambda original, described, arrays, x: jnp.sin(
                1.5 * lax.stop_gradient(jnp.abs(x) + 1) * x) if described.function == "finer"
                else original(described, arrays, x)), "finer_gaussian", NT),
    _mutant("batch_norm_training", "19", "residual ConvNet", "BatchNorm normalises with the statistics of the batch",
            _plain(layers.BatchNorm, _training_norm), "residual_batch_norm", NT),
    _mutant("batch_norm_eps", "", "residual ConvNet", "the ε of BatchNorm is 1e-3, as elsewhere",
            _plain_described(layers.BatchNorm, eps=1e-3), "residual_batch_norm", NT),
    _mutant("layer_norm_eps", "", "norms", "the ε of LayerNorm is 1e-6, as elsewhere",
            _plain_described(layers.LayerNorm, eps=1e-6), "norms"),
    _mutant("residual_dropped", "", "transformer", "a residual without its shortcut",
            _plain(layers.Residual, lambda original, described, arrays, x:
                   jax_layers.through(described.body, arrays, x)), "transformer", NT),
    _mutant("shortcut_pooled", "", "residual ConvNet", "the shortcut averages where it has a stride",
            _plain(layers.Convolution, _pooled_shortcut), "residual_batch_norm", NT),
    _mutant("dilation_ignored", "", "residual ConvNet", "a dilated convolution as a dense one",
            _plain(layers.Convolution, _dilation_ignored), "residual_batch_norm", NT),
    _mutant("groups_as_dense", "", "residual ConvNet", "a grouped convolution as a dense one",
            _plain(layers.Convolution, _groups_as_dense), "residual_batch_norm", NT),
    _mutant("mask_dropped", "", "transformer", "attention is not causal",
            _plain_described(layers.Attention, causal=False), "transformer", NT),
    _mutant("mask_off_by_one", "", "transformer", "a position attends to the one after it", _attention(diagonal=1),
            "transformer", NT),
    _mutant("attention_scale", "", "transformer", "scores are divided by √D, not by √(D/heads)",
            _attention(scale=lambda width, of_head: math.sqrt(width)), "transformer", NT),
    _mutant("attention_not_scaled", "", "transformer", "scores are not divided",
            _attention(scale=lambda width, of_head: 1.0), "transformer", NT),
    _mutant("head_order", "", "transformer", "queries, keys and values lie side by side in each head",
            _attention(interleaved=True), "transformer", NT),
    _mutant("positions_dropped", "", "transformer", "position embeddings are not added",
            _plain(layers.Positions, lambda original, described, arrays, x: x), "transformer", NT),
    _mutant("weight_norm_detached", "", "weight normalisation", "no derivative of the length that v is divided by",
            _plain(layers.WeightNormDense, lambda original, described, arrays, x: _length_detached(
                described, arrays, x)), "weight_norm"),
    _mutant("outputs_channels_last", "", "ConvNet with image outputs", "outputs flattened with the channels last",
            _plain(layers.Convolution, lambda original, described, arrays, x: jnp.moveaxis(
                original(described, arrays, x), 1, 3) if described.name == "second"
                else original(described, arrays, x)), "conv_image_outputs"),
    _in_equinox("norm_eps", "", "norms", "the ε of RMSNorm is 1e-6, as elsewhere",
                _equinox_described(layers.RMSNorm, eps=1e-6), "norms"),
    _in_equinox("residual_dropped", "", "residual ConvNet", "a residual without its shortcut",
                _equinox(layers.Residual, lambda original, *rest: BodyOnly(original(*rest))), "residual_batch_norm"),
    _in_equinox("mask_off_by_one", "", "transformer", "a position attends to the one after it",
                _equinox(layers.Attention, lambda original, *rest: FutureSeen(original(*rest))), "transformer"),
    _in_equinox("time_reversed", "", "recurrent", "the sequence is read backwards",
                _equinox(layers.Recurrent, lambda original, *rest: Reversed(original(*rest))), "recurrent"),
    _in_equinox("tanh_gelu", "17", "MLP", "GELU in its tanh approximation",
                entry(equinox_networks.ACTIVATIONS, "gelu", jax.nn.gelu), "mlp_gelu"),
    _in_equinox("ntk_bias_scale", "17", "MLP", "biases are not scaled by b_std in the NTK parameterization",
                attribute(equinox_networks, "bias_scale", lambda network: 1.0), "mlp_tanh_ntk"),
    _in_equinox("sum_for_mean", "", "ConvNet", "the sum over pixels for their mean",
                attribute(equinox_networks, "_global_mean", lambda x: x.sum(axis=(1, 2))), "conv_same_global"),
    _mutant("flattened_channels_last", "16", "ConvNet",
            "stax flattens with the channels last; the weights are not reordered",
            attribute(stax_networks, "_dense_parameters", _not_reordered), "conv_stride", NT_STRUCTURED),
    _mutant("padding_dropped", "", "ConvNet", "no padding where there is one",
            attribute(stax_networks, "padding_name", lambda conv, height, width: "VALID"), "conv_same_global",
            NT_PRODUCTS),
)
