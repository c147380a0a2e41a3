"""Directions pushed through a network that is linearised once, for JAX."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from impls.frameworks.jax.contraction import contract
from impls.frameworks.jax.support import Batched, flat_outputs, random_key
from impls.frameworks.jax.xla import compiled
from impls.structured.projections import Layout, layout, matrix
from reference.case import Outputs

DRAWS = {"gaussian": jax.random.normal, "rademacher": jax.random.rademacher}


class Estimator:
    """The kernel of ``f(params, x)`` from `proj_dim` random directions, for parameters of given shapes."""

    def __init__(self, f: Batched, params: Any, *, proj_dim: int, distribution: str, batch_size: int | None) -> None:
        leaves, self.structure = jax.tree.flatten(params)
        self.f, self.batch_size = f, batch_size
        self.draw = DRAWS[distribution]
        self.layout: Layout = layout(proj_dim, [leaf.shape for leaf in leaves])
        # Blocks of one size are compiled once, and serve every `Outputs`.
        self.push, self.contract = compiled(self._push), compiled(self._contract, static_argnums=2)

    def __call__(self, params: Any, x1: jax.Array, x2: jax.Array | None, seed: int,
                 outputs: Outputs) -> jax.Array:
        """The same seed means the same directions, for any examples."""
        leaves = jax.tree.leaves(params)
        key = random_key(seed)
        x = x1 if x2 is None else jnp.concatenate([x1, x2])  # one block, where it may be: one set of draws
        size = self.batch_size or len(x)
        parts = [self.push(leaves, x[start:start + size], key) for start in range(0, len(x), size)]
        projected = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
        return self.contract(projected[:len(x1)], None if x2 is None else projected[len(x1):], outputs)

    def _push(self, leaves: list[jax.Array], x: jax.Array, key: jax.Array) -> jax.Array:
        """J(x) v_s for every s: (n, O, S)."""
        def run(some: list[jax.Array]) -> jax.Array:
            return flat_outputs(self.f(self.structure.unflatten(some), x), len(x))

        tangent = jax.linearize(run, leaves)[1]  # what does not depend on the direction is computed here, once
        projected = jax.lax.map(partial(self._group, tangent, leaves, key), jnp.arange(self.layout.n_groups))
        rows = projected.reshape(-1, *projected.shape[3:])[:self.layout.proj_dim]
        return jnp.moveaxis(rows, 0, -1)

    def _group(self, tangent: Any, leaves: list[jax.Array], key: jax.Array, group: jax.Array) -> jax.Array:
        """(chunks, directions of a chunk, n, O)"""
        draws, signs = self._draws(leaves, jax.random.fold_in(key, group))

        def direction(s: jax.Array) -> list[jax.Array]:
            return [self._direction(i, leaf, draws[i], signs[i], s) for i, leaf in enumerate(leaves)]

        places = jnp.arange(self.layout.group).reshape(self.layout.n_chunks, self.layout.chunk)
        return jax.lax.map(lambda chunk: jax.vmap(lambda s: tangent(direction(s)))(chunk), places)

    def _draws(self, leaves: list[jax.Array], key: jax.Array) -> tuple[list[jax.Array], list[Any]]:
        """For each parameter its draws, and the signs of rows and columns for each direction (None: no reuse)."""
        shapes = [(self.layout.draws(i), *leaf.shape) for i, leaf in enumerate(leaves)]
        numbers, bits = jax.random.split(key)
        # In one piece: a draw for each parameter takes long to compile.
        draws = _cut(self.draw(numbers, (sum(map(math.prod, shapes)),), leaves[0].dtype), shapes)
        reused = [i for i, reuse in enumerate(self.layout.reuses) if reuse > 1]
        sides = [(self.layout.group, size) for i in reused for size in matrix(leaves[i].shape)]
        signs: list[Any] = [None] * len(leaves)
        if reused:
            flat = jax.random.rademacher(bits, (sum(map(math.prod, sides)),), leaves[0].dtype)
            cut = iter(_cut(flat, sides))
            for i in reused:
                signs[i] = (next(cut), next(cut))
        return draws, signs

    def _direction(self, i: int, leaf: jax.Array, draws: jax.Array, signs: Any, s: jax.Array) -> jax.Array:
        drawn = draws[s // self.layout.reuses[i]]
        if signs is None:
            return drawn.astype(leaf.dtype)
        rows, columns = (side[s] for side in signs)
        flat = drawn.reshape(matrix(leaf.shape)) * rows[:, None] * columns
        return flat.reshape(leaf.shape).astype(leaf.dtype)

    def _contract(self, projected1: jax.Array, projected2: jax.Array | None, outputs: Outputs) -> jax.Array:
        return contract(projected1, projected2, outputs) / self.layout.proj_dim


def _cut(flat: jax.Array, shapes: list[tuple[int, ...]]) -> list[jax.Array]:
    parts, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        parts.append(flat[start:start + size].reshape(shape))
        start += size
    return parts
