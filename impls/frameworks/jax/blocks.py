"""A kernel put together from blocks of examples, for JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Block = Callable[[Any, Any], Any]
"""The kernel of some examples of x1 with some of x2, or a pytree of several kernels; None for x2 means the same
examples."""


def blocked(block: Block, x1: jax.Array, x2: jax.Array | None, batch_size: int | None,
            part: Callable[[jax.Array], Any] = lambda x: x) -> Any:
    """The kernel from blocks of `batch_size` examples of x1 and of x2, the last ones as small as they come.

    `block` is given what `part` makes of the examples, themselves or their Jacobians; at most two parts exist at a
    time. With x2 None only the blocks on and above the diagonal are computed: K[m, n, b, a] = K[n, m, a, b].
    """
    if batch_size is None or batch_size >= max(len(x1), 0 if x2 is None else len(x2)):
        return block(part(x1), None if x2 is None else part(x2))
    rows: list[list[Any]] = []
    for i, examples in enumerate(parts1 := _parts(x1, batch_size)):
        left = part(examples)
        if x2 is not None:
            rows.append([block(left, part(right)) for right in _parts(x2, batch_size)])
            continue
        mirrored = [jax.tree.map(_mirrored, row[i]) for row in rows]
        rows.append([*mirrored, block(left, None), *(block(left, part(right)) for right in parts1[i + 1:])])
    return _join(rows)


def _parts(x: jax.Array, size: int) -> list[jax.Array]:
    return [x[start:start + size] for start in range(0, len(x), size)]


def _mirrored(block: jax.Array) -> jax.Array:
    return block.transpose(1, 0, 3, 2) if block.ndim == 4 else jnp.swapaxes(block, 0, 1)


def _join(rows: list[list[Any]]) -> Any:
    joined = [jax.tree.map(lambda *blocks: jnp.concatenate(blocks, axis=1), *row) for row in rows]
    return jax.tree.map(lambda *blocks: jnp.concatenate(blocks, axis=0), *joined)
