"""A described network's parameters as they are at initialisation, drawn by JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from reference import Described, initialisation
from reference.layers import Drawn


def draw_params(network: Described, key: jax.Array, dtype: str) -> dict[str, jax.Array]:
    """By the reference's names, from the key's own parts; can be traced."""
    keys = jax.random.split(key, max(1, len(distributions := initialisation(network))))
    return {name: _draw(drawn, keys[i], dtype) for i, (name, drawn) in enumerate(distributions.items())}


def _draw(drawn: Drawn, key: jax.Array, dtype: str) -> jax.Array:
    values = jax.random.normal(key, drawn.shape, dtype)
    return drawn.mean + drawn.std * (jnp.abs(values) if drawn.positive else values)
