"""From Jacobians to the kernel, for JAX: blocks of examples, and the products of their Jacobians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from reference import Request
from reference.case import Outputs

Jacobian = Any
"""A pytree of arrays (N, O, …), a leaf for each parameter."""


def contract(jacobian1: Jacobian, jacobian2: Jacobian, outputs: Outputs) -> jax.Array:
    """The kernel, Σ over the leaves of J1 J2ᵀ: (N1, N2, O, O), or (N1, N2, O) "diagonal", or (N1, N2) "trace".

    Diagonal and trace are contracted directly: they cost 1/O of the full kernel.
    """
    pairs = zip(jax.tree.leaves(jacobian1), jax.tree.leaves(jacobian2), strict=True)
    return sum((_contract_leaf(leaf1, leaf2, outputs) for leaf1, leaf2 in pairs), start=jnp.zeros(()))


def _contract_leaf(leaf1: jax.Array, leaf2: jax.Array, outputs: Outputs) -> jax.Array:
    n1, n2, n_outputs = leaf1.shape[0], leaf2.shape[0], leaf1.shape[1]
    if outputs == "trace":
        return leaf1.reshape(n1, -1) @ leaf2.reshape(n2, -1).T
    if outputs == "diagonal":
        return jnp.einsum("nap,map->nma", leaf1.reshape(n1, n_outputs, -1), leaf2.reshape(n2, n_outputs, -1))
    product = leaf1.reshape(n1 * n_outputs, -1) @ leaf2.reshape(n2 * n_outputs, -1).T
    return product.reshape(n1, n_outputs, n2, n_outputs).transpose(0, 2, 1, 3)


def blocked_kernel(jacobian: Callable[[jax.Array], Jacobian], x1: jax.Array, x2: jax.Array | None,
                   request: Request) -> jax.Array:
    """The kernel in blocks of `request.batch_size` examples of x1 and of x2, the last ones as small as they come.

    At most two blocks' Jacobians exist at a time. With x2 None only the blocks on and above the diagonal are computed.
    """
    blocks1 = _blocks(x1, request.batch_size)
    blocks2 = blocks1 if x2 is None else _blocks(x2, request.batch_size)
    rows: list[list[jax.Array]] = []
    for i, block1 in enumerate(blocks1):
        jacobian1 = jacobian(block1)
        row = [] if x2 is not None else [_swap_examples(above[i], request.outputs) for above in rows]
        for j in range(len(row), len(blocks2)):
            same = x2 is None and i == j
            row.append(_contract(jacobian1, jacobian1 if same else jacobian(blocks2[j]), request.outputs))
        rows.append(row)
    return _assemble(rows)


_contract = jax.jit(contract, static_argnames="outputs")


def _blocks(x: jax.Array, size: int | None) -> list[jax.Array]:
    if size is None or size >= x.shape[0]:
        return [x]
    return [x[start:start + size] for start in range(0, x.shape[0], size)]


def _swap_examples(block: jax.Array, outputs: Outputs) -> jax.Array:
    """K(x2, x1) from K(x1, x2): Θ_ab(x, x') = Θ_ba(x', x)."""
    return block.transpose(1, 0, 3, 2) if outputs == "full" else jnp.swapaxes(block, 0, 1)


def _assemble(rows: list[list[jax.Array]]) -> jax.Array:
    if len(rows) == 1 and len(rows[0]) == 1:
        return rows[0][0]
    return jnp.concatenate([jnp.concatenate(row, axis=1) for row in rows], axis=0)
