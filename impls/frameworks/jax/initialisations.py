"""Averages over the initialisations of a network, for JAX: of whatever makes a fresh one from a key.

K̂ = (1/S) Σ_s f(θ_s, x1) f(θ_s, x2)ᵀ is unbiased (reference/DEFINITION.md, "nngp"). One set of draws serves x1 and x2,
and draw s depends on the key and on s alone. Memory: S·N·O for the outputs, and those networks that are drawn
together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from impls.frameworks.jax.contraction import contract
from impls.frameworks.jax.support import flat_outputs
from impls.frameworks.jax.xla import compiled
from reference import InputError
from reference.case import Outputs

Make = Callable[[jax.Array], Any]
"""From a key to a freshly initialised model; can be traced."""
Run = Callable[[Any, jax.Array], Any]
"""A model of a batch (N, …), in evaluation mode."""

_MOST_AT_ONCE = 64  # networks drawn together: enough to fill the matrix products
_BYTES_AT_ONCE = 2**27  # of their parameters


class Draws:
    """The networks that `make` draws from `key`; compiled once for a shape of examples."""

    def __init__(self, make: Make, run: Run, n_samples: int) -> None:
        self.n_samples = n_samples

        def outputs(key: jax.Array, x: jax.Array) -> jax.Array:
            def one(s: jax.Array) -> jax.Array:
                return flat_outputs(run(make(jax.random.fold_in(key, s)), x), len(x))

            drawn = jax.lax.map(one, jnp.arange(n_samples), batch_size=_at_once(make, key, n_samples))
            return jnp.moveaxis(drawn, 0, -1)

        self._outputs = compiled(outputs, jit=eqx.filter_jit)

    def outputs(self, key: jax.Array, x: jax.Array, batch_size: int | None = None) -> jax.Array:
        """f(θ_s, x) of every draw, (N, O, S), in blocks of examples, for each of which the networks are drawn anew."""
        size = len(x) if batch_size is None else batch_size
        return jnp.concatenate([self._outputs(key, x[start:start + size]) for start in range(0, len(x), size)])


@partial(compiled, static_argnums=(1, 2, 3))
def average(drawn: jax.Array, n1: int, symmetric: bool, outputs: Outputs) -> jax.Array:
    """The estimate from outputs (N, O, S) of x1 and then x2: (N1, N2, O, O), (N1, N2, O) or (N1, N2)."""
    return contract(drawn[:n1], None if symmetric else drawn[n1:], outputs) / drawn.shape[-1]


@partial(compiled, static_argnums=(1, 2, 3))
def standard_error(drawn: jax.Array, n1: int, symmetric: bool, outputs: Outputs) -> jax.Array:
    """That of each entry of `average`: the spread of one draw over √S."""
    first, second, n_samples = drawn[:n1], drawn[:n1] if symmetric else drawn[n1:], drawn.shape[-1]
    if outputs == "trace":
        spread = jax.lax.map(lambda row: jnp.einsum("as,mas->ms", row, second).std(axis=-1, ddof=1), first)
        return spread / jnp.sqrt(n_samples)
    mean = contract(first, second, outputs) / n_samples
    squares = contract(first**2, second**2, outputs) / n_samples
    return jnp.sqrt(jnp.maximum(squares - mean**2, 0) / (n_samples - 1))


def check_fresh(drawn: jax.Array) -> None:
    """Raise `InputError` where the factory does not use its key: the average would be of one network."""
    first, second = drawn[..., 0], drawn[..., 1]
    if bool((first == second).all()) and bool(first.any()):
        raise InputError("two networks of the factory have the same outputs: it must draw its parameters from the key "
                         "that it is given, e.g. lambda key: eqx.nn.MLP(2, 1, 64, 2, key=key)")


def _at_once(make: Make, key: jax.Array, n_samples: int) -> int:
    arrays = [leaf for leaf in jax.tree.leaves(eqx.filter_eval_shape(make, key)) if hasattr(leaf, "dtype")]
    held = max(1, sum(leaf.size * leaf.dtype.itemsize for leaf in arrays))
    return max(1, min(_MOST_AT_ONCE, n_samples, _BYTES_AT_ONCE // held))
