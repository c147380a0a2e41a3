"""The product of two sets of per-example Jacobians, for JAX."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp

from impls.frameworks.jax.support import leaf_names
from reference.case import Outputs

Jacobian = Any
"""A pytree of arrays (N, O, …), a leaf for each parameter."""


def contract(jacobian1: Jacobian, jacobian2: Jacobian | None, outputs: Outputs) -> jax.Array:
    """The kernel, Σ over the leaves of J1 J2ᵀ: (N1, N2, O, O), or (N1, N2, O) "diagonal", or (N1, N2) "trace".

    None for `jacobian2` means `jacobian1`. Diagonal and trace are contracted directly, at 1/O of the cost of all.
    """
    leaves1 = jax.tree.leaves(jacobian1)
    leaves2 = leaves1 if jacobian2 is None else jax.tree.leaves(jacobian2)
    return reduce(operator.add, map(_contractions[outputs], leaves1, leaves2))


def contract_each(jacobian1: Jacobian, jacobian2: Jacobian | None, outputs: Outputs) -> dict[str, jax.Array]:
    """As `contract`, but the share of each leaf, by its name."""
    names, leaves1 = leaf_names(jacobian1), jax.tree.leaves(jacobian1)
    leaves2 = leaves1 if jacobian2 is None else jax.tree.leaves(jacobian2)
    return dict(zip(names, map(_contractions[outputs], leaves1, leaves2), strict=True))


def _full(leaf1: jax.Array, leaf2: jax.Array) -> jax.Array:
    (n1, n_outputs), n2 = leaf1.shape[:2], leaf2.shape[0]
    product = leaf1.reshape(n1 * n_outputs, -1) @ leaf2.reshape(n2 * n_outputs, -1).T
    return product.reshape(n1, n_outputs, n2, n_outputs).transpose(0, 2, 1, 3)


def _diagonal(leaf1: jax.Array, leaf2: jax.Array) -> jax.Array:
    return jnp.einsum("nap,map->nma", leaf1.reshape(*leaf1.shape[:2], -1), leaf2.reshape(*leaf2.shape[:2], -1))


def _trace(leaf1: jax.Array, leaf2: jax.Array) -> jax.Array:
    return leaf1.reshape(leaf1.shape[0], -1) @ leaf2.reshape(leaf2.shape[0], -1).T


_contractions = {"full": _full, "diagonal": _diagonal, "trace": _trace}
