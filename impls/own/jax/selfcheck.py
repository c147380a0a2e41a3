"""The self-check's products in JAX: one compiled program of backward passes of the user's function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.kept import kept
from impls.frameworks.jax.support import Batched, flat_outputs, leaf_names, precision
from impls.frameworks.jax.xla import compiled
from impls.given.network import OwnNetwork


def products(own: OwnNetwork, x1: jax.Array, x2: jax.Array, u: np.ndarray, v: np.ndarray,
             rounded: int | None = None) -> tuple[Mapping[str, float], float]:
    """As `impls.own.halves.Half` says."""
    with precision(own.dtype):
        params = own.params if rounded is None else _rounded(own.params, rounded)
        rows = np.stack([u, v], 1).astype(own.dtype)
        xs = jnp.concatenate([x1, x2])
        shares, scales = kept(_program, own.f, params, xs, rows)(params, xs, rows)  # compiled at the first call alone
        names = leaf_names(own.params)
        return ({name: float(np.asarray(share, np.float64).sum()) for name, share in zip(names, shares, strict=True)},
                float(np.asarray(scales).sum()))


def _program(f: Batched, *_: Any) -> Callable[..., Any]:
    return compiled(partial(_both, f), quick=True)


def _both(f: Batched, params: Any, xs: jax.Array, rows: jax.Array) -> Any:
    def pulled_back(x: jax.Array, row: jax.Array) -> Any:
        return jax.vjp(lambda p: flat_outputs(f(p, x[None]), 1)[0], params)[1](row)[0]

    def of_rows(pair: jax.Array) -> Any:
        leaves = [leaf.reshape(2, -1) for leaf in jax.tree.leaves(jax.vmap(pulled_back)(xs, pair))]
        return ([jnp.vdot(*leaf) for leaf in leaves],
                jnp.sqrt(jnp.prod(sum(jnp.square(leaf).sum(1) for leaf in leaves))))

    return jax.tree.map(lambda a: a[None], of_rows(rows[0])) if len(rows) == 1 else jax.lax.map(of_rows, rows)


def _rounded(params: Any, seed: int) -> Any:
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf * (1 + jnp.finfo(leaf.dtype).eps * jnp.asarray(
        draw.integers(0, 2, leaf.shape) * 2 - 1, leaf.dtype)), params)
