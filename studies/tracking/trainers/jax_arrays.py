"""Pytrees of JAX as arrays by name, and back; and the optimiser and the loss, alike for Equinox and Flax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from impls.frameworks.jax.params import leaf_names
from studies.tracking.options import Optimiser


def as_arrays(tree: Any) -> dict[str, np.ndarray]:
    """The leaves by their paths; of keys their data."""
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    names = leaf_names(path for path, _ in found)
    return {name: np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
            for name, (_, leaf) in zip(names, found, strict=True)}


def from_arrays(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A tree like `tree` with these leaves."""
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = leaf_names(path for path, _ in found)
    return structure.unflatten([_like(leaf, arrays[name]) for name, (_, leaf) in zip(names, found, strict=True)])


def optimiser(how: Optimiser) -> optax.GradientTransformation:
    if how.name == "adam":
        return optax.adam(how.learning_rate)
    return optax.sgd(how.learning_rate, how.momentum or None)


def loss(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """The mean cross-entropy of classes, or of numbers the mean of (f − y)²."""
    if jnp.issubdtype(y.dtype, jnp.integer):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()
    return jnp.mean((outputs.reshape(y.shape) - y) ** 2)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _like(leaf: Any, array: np.ndarray) -> jax.Array:
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    return jnp.asarray(array, leaf.dtype)
