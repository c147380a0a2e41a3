"""The features of a named layer of a Flax NNX module."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from impls.frameworks.jax.flax_features import observe
from impls.frameworks.watching import check_found


def features_of(model: nnx.Module, x: np.ndarray, layer: str, batch_size: int | None = None) -> jax.Array:
    """φ (N, h) in evaluation mode, in blocks of examples. Raises `InputError` where there is no such layer."""
    size, parts = len(x) if batch_size is None else batch_size, []
    for start in range(0, len(x), size):
        part = x[start:start + size]
        found = observe(model, part, [layer]).found
        check_found([layer], found)
        parts.append(found[layer].reshape(len(part), -1))
    return jnp.concatenate(parts)
