"""`Layered` networks in plain JAX, one function for each kind of layer. Batched: x is (N, …)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch

import jax
import jax.numpy as jnp
from jax import lax

from impls.frameworks.jax.convolutions import padded
from reference import layers
from reference.layers import Layer

Arrays = Mapping[str, jax.Array]
"""Parameters and constants, by the reference's names."""

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "erf": lax.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "sin": jnp.sin,
}


def activation(layer: layers.Activate) -> Callable[[jax.Array], jax.Array]:
    """The elementwise function that the layer describes."""
    frequency, rate = layer.frequency, layer.rate
    coordinate: dict[str, Callable[[jax.Array], jax.Array]] = {
        "siren": lambda x: jnp.sin(frequency * x),
        "finer": lambda x: jnp.sin(frequency * (jnp.abs(x) + 1) * x),
        "gaussian": lambda x: jnp.exp(-((rate * x) ** 2)),
        "sinc": lambda x: jnp.sinc(frequency * x / jnp.pi),  # NumPy's sinc has a π inside
        "wire": lambda x: jnp.cos(frequency * x) * jnp.exp(-((rate * x) ** 2)),
    }
    return (ACTIVATIONS | coordinate)[layer.function]


def through(several: tuple[Layer, ...], arrays: Arrays, x: jax.Array) -> jax.Array:
    """The layers one after the other."""
    for layer in several:
        x = apply(layer, arrays, x)
    return x


@singledispatch
def apply(layer: Layer, arrays: Arrays, x: jax.Array) -> jax.Array:
    """What the layer makes of a batch."""
    raise TypeError(f"plain JAX has no build of {layer!r}")


@apply.register
def _(layer: layers.Dense, arrays: Arrays, x: jax.Array) -> jax.Array:
    y = x @ arrays[f"{layer.name}.weight"].T
    return y + arrays[f"{layer.name}.bias"] if layer.bias else y


@apply.register
def _(layer: layers.WeightNormDense, arrays: Arrays, x: jax.Array) -> jax.Array:
    direction = arrays[f"{layer.name}.weight_v"]
    weight = arrays[f"{layer.name}.weight_g"] * direction / jnp.linalg.norm(direction, axis=1, keepdims=True)
    return x @ weight.T + arrays[f"{layer.name}.bias"]


@apply.register
def _(layer: layers.Convolution, arrays: Arrays, x: jax.Array) -> jax.Array:
    x, padding = padded(x, layer.kernel, layer.stride, layer.padding)
    y = lax.conv_general_dilated(
        x, arrays[f"{layer.name}.weight"], layer.stride, [(pad, pad) for pad in padding],
        rhs_dilation=layer.dilation, feature_group_count=layer.groups, dimension_numbers=("NCHW", "OIHW", "NCHW"))
    return y + arrays[f"{layer.name}.bias"][:, None, None] if layer.bias else y


@apply.register
def _(layer: layers.BatchNorm, arrays: Arrays, x: jax.Array) -> jax.Array:
    gain, bias, mean, variance = (arrays[f"{layer.name}.{role}"][:, None, None]
                                  for role in ("weight", "bias", "running_mean", "running_var"))
    return gain * (x - mean) * lax.rsqrt(variance + layer.eps) + bias


@apply.register
def _(layer: layers.LayerNorm, arrays: Arrays, x: jax.Array) -> jax.Array:
    # Not jax.nn.standardize, whose mean(x²) − mean(x)² cancels. Seen in float32: a kernel 12 times further off.
    normalised = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + layer.eps)
    return normalised * arrays[f"{layer.name}.weight"] + arrays[f"{layer.name}.bias"]


@apply.register
def _(layer: layers.RMSNorm, arrays: Arrays, x: jax.Array) -> jax.Array:
    return x * lax.rsqrt((x**2).mean(-1, keepdims=True) + layer.eps) * arrays[f"{layer.name}.weight"]


@apply.register
def _(layer: layers.Activate, arrays: Arrays, x: jax.Array) -> jax.Array:
    return activation(layer)(x)


@apply.register
def _(layer: layers.FourierFeatures, arrays: Arrays, x: jax.Array) -> jax.Array:
    phases = x @ arrays[f"{layer.name}.frequencies"].T
    return jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=-1)


@apply.register
def _(layer: layers.GlobalPool, arrays: Arrays, x: jax.Array) -> jax.Array:
    return x.mean(axis=(2, 3))


@apply.register
def _(layer: layers.Embedding, arrays: Arrays, x: jax.Array) -> jax.Array:
    return arrays[f"{layer.name}.weight"][x]


@apply.register
def _(layer: layers.Positions, arrays: Arrays, x: jax.Array) -> jax.Array:
    return x + arrays[f"{layer.name}.weight"]


@apply.register
def _(layer: layers.Attention, arrays: Arrays, x: jax.Array) -> jax.Array:
    n, length, width = x.shape
    projected = x @ arrays[f"{layer.name}.in_proj_weight"].T + arrays[f"{layer.name}.in_proj_bias"]
    query, key, value = projected.reshape(n, length, 3, layer.n_heads, -1).transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) / jnp.sqrt(query.shape[-1])
    if layer.causal:
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    heads = jax.nn.softmax(scores) @ value
    joined = heads.swapaxes(1, 2).reshape(n, length, width)
    return joined @ arrays[f"{layer.name}.out_proj.weight"].T + arrays[f"{layer.name}.out_proj.bias"]


@apply.register
def _(layer: layers.Recurrent, arrays: Arrays, x: jax.Array) -> jax.Array:
    """Unrolled in Python; Equinox's build scans."""
    weight_ih, weight_hh, bias_ih, bias_hh = (arrays[f"{layer.name}.{role}"]
                                              for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    state = jnp.zeros((x.shape[0], layer.width), x.dtype)
    for step in range(x.shape[1]):
        state = jnp.tanh(x[:, step] @ weight_ih.T + bias_ih + state @ weight_hh.T + bias_hh)
    return state


@apply.register
def _(layer: layers.Unused, arrays: Arrays, x: jax.Array) -> jax.Array:
    return x


@apply.register
def _(layer: layers.Residual, arrays: Arrays, x: jax.Array) -> jax.Array:
    return through(layer.body, arrays, x) + through(layer.shortcut, arrays, x)
