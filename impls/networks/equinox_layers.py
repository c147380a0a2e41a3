"""`Layered` networks from Equinox's own layers, one function for each kind of layer. They take one example.

Every array of the case stands in the table once, so that what is tied, and what is not trained, is told by identity:
`eqx.nn.Shared` ties every later use of an array to the first, and the constants are left out of the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, singledispatch
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from impls.frameworks.jax.convolutions import Lengths, is_padded_before, with_zeros
from impls.networks.jax_layers import activation
from reference import Layered, layers
from reference.layers import Layer, Shape, met

Table = Mapping[str, jax.Array]
"""Parameters and constants, by the reference's names."""


class Tied(eqx.Module):
    """A model some of whose arrays are tied."""

    shared: eqx.nn.Shared

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.shared()(x)


class OverSequence(eqx.Module):
    """A layer at each position of a sequence."""

    layer: Any

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key  # eqx.nn.Sequential hands one to every layer
        return jax.vmap(self.layer)(x)


class InferenceBatchNorm(eqx.Module):
    """`eqx.nn.BatchNorm` with the state that holds its running statistics, which inference only reads."""

    norm: eqx.nn.BatchNorm
    state: eqx.nn.State

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key
        return self.norm(x, self.state)[0]


class Fourier(eqx.Module):
    frequencies: jax.Array

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key
        phases = self.frequencies @ x
        return jnp.concatenate([jnp.cos(phases), jnp.sin(phases)])


class LearnedPositions(eqx.Module):
    weight: jax.Array

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key
        return x + self.weight


class SelfAttention(eqx.Module):
    attention: eqx.nn.MultiheadAttention
    causal: bool = eqx.field(static=True)

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key
        mask = jnp.tril(jnp.ones((len(x), len(x)), bool)) if self.causal else None
        return self.attention(x, x, x, mask=mask)


class Scanned(eqx.Module):
    """A recurrent cell over the steps of a sequence; the last state."""

    from_input: eqx.nn.Linear
    from_state: eqx.nn.Linear

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key

        def cell(state: jax.Array, step: jax.Array) -> tuple[jax.Array, None]:
            return jnp.tanh(self.from_input(step) + self.from_state(state)), None

        return jax.lax.scan(cell, jnp.zeros(self.from_state.weight.shape[0], x.dtype), x)[0]


class Unused(eqx.Module):
    weight: jax.Array

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key
        return x


class Residual(eqx.Module):
    body: eqx.nn.Sequential
    shortcut: eqx.nn.Sequential

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        del key
        return self.body(x) + self.shortcut(x)


def build(network: Layered, params: Table, constants: Table) -> tuple[Any, Any]:
    """The network in inference mode, and its trainable part as `eqx.partition` gives it."""
    params, constants = (_as_equinox_keeps_them(table, network.all_layers()) for table in (params, constants))
    model = eqx.nn.inference_mode(_sequential(network.layers, network.input_shape, {**constants, **params}))
    model = _tied(model, {id(array) for array in params.values()})
    fixed = {id(array) for array in constants.values()}
    trained = jax.tree.map(lambda leaf: leaf if eqx.is_inexact_array(leaf) and id(leaf) not in fixed else None, model)
    count = sum(leaf.size for leaf in jax.tree.leaves(trained))
    assert count == sum(array.size for array in params.values()), "a constant became a parameter, or the other way"
    return model, trained


def _as_equinox_keeps_them(table: Table, several: list[Layer]) -> Table:
    """With those arrays reshaped, or split, that Equinox keeps so: once for all their uses, which share them."""
    kept = dict(table)
    for layer in several:
        if isinstance(layer, layers.Convolution) and (bias := f"{layer.name}.bias") in table:
            kept[bias] = table[bias][:, None, None]
        if isinstance(layer, layers.Attention):
            for name in (f"{layer.name}.in_proj_weight", f"{layer.name}.in_proj_bias"):
                if name in table:
                    kept.pop(name, None)
                    kept |= {f"{name}.{i}": third for i, third in enumerate(jnp.split(table[name], 3))}
    return kept


def _tied(model: Any, params: set[int]) -> Any:
    uses: dict[int, list[Any]] = {array: [] for array in params}
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        uses.get(id(leaf), []).append(path)
    pairs = [(paths[0], later) for paths in uses.values() for later in paths[1:]]
    if not pairs:
        return model
    return Tied(eqx.nn.Shared(model, lambda model: [_at(model, later) for _, later in pairs],
                              lambda model: [_at(model, first) for first, _ in pairs]))


def _at(tree: Any, path: Any) -> Any:
    for key in path:
        tree = getattr(tree, key.name) if isinstance(key, jax.tree_util.GetAttrKey) else tree[key.idx]
    return tree


def _sequential(several: tuple[Layer, ...], shape: Shape, table: Table) -> eqx.nn.Sequential:
    return eqx.nn.Sequential([module(layer, inside, table) for layer, inside in met(several, shape)])


@singledispatch
def module(layer: Layer, shape: Shape, table: Table) -> Any:
    """The layer as a module for one example of that shape, with the table's arrays."""
    raise TypeError(f"Equinox has no build of {layer!r}")


@module.register
def _(layer: layers.Dense, shape: Shape, table: Table) -> Any:
    bias = table[f"{layer.name}.bias"] if layer.bias else None
    return _over(_linear(table[f"{layer.name}.weight"], bias), shape)


@module.register
def _(layer: layers.WeightNormDense, shape: Shape, table: Table) -> Any:
    made = eqx.nn.WeightNorm(_linear(table[f"{layer.name}.weight_v"], table[f"{layer.name}.bias"]))
    return _over(_filled(made, g=table[f"{layer.name}.weight_g"]), shape)


@module.register
def _(layer: layers.Convolution, shape: Shape, table: Table) -> Any:
    before, padding = zeros_before(layer.kernel, layer.stride, layer.padding)
    made = _empty(eqx.nn.Conv2d, shape[0], layer.channels, layer.kernel, layer.stride, padding, layer.dilation,
                  layer.groups, use_bias=layer.bias)
    made = _filled(made, weight=table[f"{layer.name}.weight"])
    made = _filled(made, bias=table[f"{layer.name}.bias"]) if layer.bias else made
    return eqx.nn.Sequential([*before, made]) if before else made


def zeros_before(kernel: Lengths, stride: Lengths, padding: Lengths) -> tuple[list[eqx.nn.Lambda], Lengths]:
    """A layer that puts zeros around the input where that is not left to a convolution, and what is left to it."""
    if not is_padded_before(kernel, stride, padding):
        return [], padding
    return [eqx.nn.Lambda(partial(with_zeros, padding=padding))], (0,) * len(padding)


@module.register
def _(layer: layers.BatchNorm, shape: Shape, table: Table) -> Any:
    weight, bias, mean, variance = (table[f"{layer.name}.{role}"]
                                    for role in ("weight", "bias", "running_mean", "running_var"))
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(shape[0], "batch", layer.eps, dtype=mean.dtype, mode="ema")
    assert norm.ema_state_index is not None  # mode="ema" has one
    state = state.set(norm.ema_state_index, (mean, variance))
    return InferenceBatchNorm(_filled(norm, weight=weight, bias=bias), state)


@module.register
def _(layer: layers.LayerNorm, shape: Shape, table: Table) -> Any:
    made = eqx.nn.LayerNorm(shape[-1], layer.eps)
    return _over(_filled(made, weight=table[f"{layer.name}.weight"], bias=table[f"{layer.name}.bias"]), shape)


@module.register
def _(layer: layers.RMSNorm, shape: Shape, table: Table) -> Any:
    made = eqx.nn.RMSNorm(shape[-1], layer.eps, use_bias=False)
    return _over(_filled(made, weight=table[f"{layer.name}.weight"]), shape)


@module.register
def _(layer: layers.Activate, shape: Shape, table: Table) -> Any:
    return eqx.nn.Lambda(activation(layer))


@module.register
def _(layer: layers.FourierFeatures, shape: Shape, table: Table) -> Any:
    return Fourier(table[f"{layer.name}.frequencies"])


@module.register
def _(layer: layers.GlobalPool, shape: Shape, table: Table) -> Any:
    return eqx.nn.Lambda(lambda x: x.mean(axis=(1, 2)))


@module.register
def _(layer: layers.Embedding, shape: Shape, table: Table) -> Any:
    return _over(eqx.nn.Embedding(weight=table[f"{layer.name}.weight"]), (*shape, 1))


@module.register
def _(layer: layers.Positions, shape: Shape, table: Table) -> Any:
    return LearnedPositions(table[f"{layer.name}.weight"])


@module.register
def _(layer: layers.Attention, shape: Shape, table: Table) -> Any:
    made = _empty(eqx.nn.MultiheadAttention, layer.n_heads, shape[-1], use_query_bias=True, use_key_bias=True,
                  use_value_bias=True, use_output_bias=True)
    projections = {f"{role}_proj": _linear(table[f"{layer.name}.in_proj_weight.{i}"],
                                           table[f"{layer.name}.in_proj_bias.{i}"])
                   for i, role in enumerate(("query", "key", "value"))}
    out = _linear(table[f"{layer.name}.out_proj.weight"], table[f"{layer.name}.out_proj.bias"])
    return SelfAttention(_filled(made, output_proj=out, **projections), layer.causal)


@module.register
def _(layer: layers.Recurrent, shape: Shape, table: Table) -> Any:
    return Scanned(*(_linear(table[f"{layer.name}.weight_{role}"], table[f"{layer.name}.bias_{role}"])
                     for role in ("ih", "hh")))


@module.register
def _(layer: layers.Unused, shape: Shape, table: Table) -> Any:
    return Unused(table[f"{layer.name}.weight"])


@module.register
def _(layer: layers.Residual, shape: Shape, table: Table) -> Any:
    return Residual(_sequential(layer.body, shape, table), _sequential(layer.shortcut, shape, table))


def _linear(weight: jax.Array, bias: jax.Array | None) -> eqx.nn.Linear:
    fan_out, fan_in = weight.shape
    made = _empty(eqx.nn.Linear, fan_in, fan_out, use_bias=bias is not None)
    return _filled(made, weight=weight) if bias is None else _filled(made, weight=weight, bias=bias)


def _empty(kind: Any, *arguments: Any, **options: Any) -> Any:
    """A layer with shapes in place of arrays: no random numbers are drawn, nothing is computed."""
    return eqx.filter_eval_shape(lambda: kind(*arguments, **options, key=jax.random.key(0)))


def _filled(made: Any, **values: Any) -> Any:
    """The module with these values in place of its own."""
    for name, value in values.items():
        made = eqx.tree_at(lambda made, name=name: getattr(made, name), made, value)
    return made


def _over(made: Any, shape: Shape) -> Any:
    return made if len(shape) == 1 else OverSequence(made)
