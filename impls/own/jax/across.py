"""Jacobians of blocks of examples and their products in JAX, for `impls.own.across`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from impls.frameworks.jax.contraction import contract as contract_leaves
from impls.frameworks.jax.support import leaf_names, precision
from impls.given.network import OwnNetwork
from impls.methods.equinox_exact import jacobians as of_examples
from reference import Request


def jacobian(own: OwnNetwork, rows: slice, method: str) -> dict[str, jax.Array]:
    with precision(own.dtype):
        found = of_examples(own.f, own.params, own.x1[rows])
        return {name: leaf.reshape(*leaf.shape[:2], -1)
                for name, leaf in zip(leaf_names(own.params), jax.tree.leaves(found), strict=True)}


def contract(left: jax.Array, right: jax.Array, request: Request) -> jax.Array:
    with precision(request.dtype):
        if left.shape[1] == right.shape[1]:
            return contract_leaves(left, right, request.outputs)
        return jnp.einsum("nap,mbp->nmab", left, right)


def contract_same(left: jax.Array, right: jax.Array, request: Request) -> jax.Array:
    of = {"full": "nap,nbp->nab", "diagonal": "nap,nap->na", "trace": "nap,nap->n"}[request.outputs]
    with precision(request.dtype):
        return jnp.einsum(of, left, right)


def concatenate(blocks: Sequence[jax.Array], axis: int) -> jax.Array:
    return jnp.concatenate(blocks, axis)


def mirrored(block: jax.Array) -> jax.Array:
    return block.transpose(1, 0, 3, 2) if block.ndim == 4 else jnp.swapaxes(block, 0, 1)
