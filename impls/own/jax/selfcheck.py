"""The self-check's products in JAX: backward passes of the user's function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.bits import keeps_fewer_bits
from impls.frameworks.jax.pulls import pulls
from impls.frameworks.jax.support import leaf_names, precision
from impls.given.network import OwnNetwork


def products(own: OwnNetwork, x1: jax.Array, x2: jax.Array, u: np.ndarray, v: np.ndarray,
             rounded: int | None = None) -> tuple[Mapping[str, float], float]:
    """As `impls.own.halves.Half` says."""
    with precision(own.dtype):
        params = own.params if rounded is None else _rounded(own.params, rounded)
        program = pulls(own.f, params, x1, own.n_outputs)  # compiled at the first call alone
        names, shares, scale = leaf_names(own.params), np.zeros(len(jax.tree.leaves(params))), 0.0
        for start in range(0, len(u), program.rows):
            rows = slice(start, start + program.rows)
            left, right = program(params, x1, u[rows]), program(params, x2, v[rows])
            shares += [np.sum(a * b, dtype=np.float64) for a, b in zip(left, right, strict=True)]
            scale += float(_lengths(left) @ _lengths(right))
        return dict(zip(names, map(float, shares), strict=True)), scale


def fewer_bits(own: OwnNetwork, x: jax.Array) -> bool:
    """As `impls.own.halves.Half` says."""
    with precision(own.dtype):
        return keeps_fewer_bits(jax.make_jaxpr(own.f)(own.params, x).jaxpr)


def _lengths(gradients: list[np.ndarray]) -> np.ndarray:
    """Of each row."""
    return np.sqrt(sum(np.square(leaf, dtype=np.float64).sum(1) for leaf in gradients))


def _rounded(params: Any, seed: int) -> Any:
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf * (1 + jnp.finfo(leaf.dtype).eps * jnp.asarray(
        draw.integers(0, 2, leaf.shape) * 2 - 1, leaf.dtype)), params)
