"""The backward pass of one example as one small program, compiled for few runs: the checks of the network, the engine's
check of itself and a kernel that is asked for once share it."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from impls.frameworks.jax.kept import kept
from impls.frameworks.jax.support import Batched, flat_outputs
from impls.frameworks.jax.xla import options

MOST_ROWS, BYTES = 16, 2**26
"""Cotangents that are pulled back at once, and bytes of their gradients."""


def pulls(f: Batched, params: Any, example: Any, n_outputs: int) -> Pulls:
    """That of f for arrays of these shapes, compiled once. Raises what JAX does where there is no reverse mode."""
    return kept(Pulls, f, params, example, n_outputs=n_outputs)


class Pulls:
    """Gradients of u·f for rows u. `compiled_s`: seconds of the processor that compiling took; `spent_s`: those of all
    kernels so far."""

    def __init__(self, f: Batched, params: Any, example: Any, *, n_outputs: int) -> None:
        leaves = jax.tree.leaves(params)
        held = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        self.n_outputs, self.spent_s = n_outputs, 0.0
        self.rows = max(1, min(MOST_ROWS, n_outputs, BYTES // max(1, held)))
        begin = time.process_time()
        rows = jax.ShapeDtypeStruct((self.rows, n_outputs), leaves[0].dtype)
        traced = jax.jit(lambda params, example, rows: _pulled(f, params, example, rows)).trace(params, example, rows)
        self.program = traced.lower().compile(compiler_options={**options(quick=True)})
        self.compiled_s = time.process_time() - begin
        self.run_s: float | None = None

    def __call__(self, params: Any, example: Any, rows: np.ndarray) -> list[np.ndarray]:
        """For `rows` (R, O) and one example (1, …): (R, size) for each parameter, in the order of the leaves."""
        blocks = [self._block(params, example, rows[start:start + self.rows])
                  for start in range(0, len(rows), self.rows)]
        return blocks[0] if len(blocks) == 1 else [np.concatenate(parts) for parts in zip(*blocks, strict=True)]

    def jacobian(self, params: Any, example: Any) -> list[np.ndarray]:
        """(O, size) for each parameter."""
        return self(params, example, np.eye(self.n_outputs))

    def seconds(self, params: Any, example: Any) -> float:
        """Of the processor, for the Jacobian of one example; measured once."""
        if self.run_s is None:
            begin = time.process_time()
            self._block(params, example, np.eye(self.rows, self.n_outputs))
            self.run_s = (time.process_time() - begin) * -(-self.n_outputs // self.rows)
        return self.run_s

    def _block(self, params: Any, example: Any, rows: np.ndarray) -> list[np.ndarray]:
        filled = np.zeros((self.rows, self.n_outputs), jax.tree.leaves(params)[0].dtype)
        filled[:len(rows)] = rows
        gradients = jax.tree.leaves(self.program(params, example, filled))
        return [np.asarray(leaf)[:len(rows)].reshape(len(rows), -1) for leaf in gradients]


def _pulled(f: Batched, params: Any, example: jax.Array, rows: jax.Array) -> Any:
    pull = jax.vjp(lambda params: flat_outputs(f(params, example), 1)[0], params)[1]
    if len(rows) == 1:
        return jax.tree.map(lambda leaf: leaf[None], pull(rows[0])[0])
    return jax.vmap(lambda row: pull(row)[0])(rows)
