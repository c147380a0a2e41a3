"""The average over what a factory of JAX's makes: Equinox modules, those with state, Flax NNX modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax import initialisations
from impls.frameworks.jax.initialisations import Draws, check_fresh
from impls.frameworks.jax.support import precision, random_key
from reference import InputError, Request


def average(factory: Callable[[jax.Array], Any], x: np.ndarray, n1: int, symmetric: bool, n_samples: int,
            request: Request) -> tuple[jax.Array, jax.Array]:
    """The kernel and its standard error, in the dtype of the outputs."""
    with precision("float32"):  # all bits of whatever dtype the factory draws
        draws = Draws(factory, run, n_samples)
        drawn = draws.outputs(random_key(request.seed), jnp.asarray(x), request.batch_size)
        check_fresh(drawn)
        how = n1, symmetric, request.outputs
        return initialisations.average(drawn, *how), initialisations.standard_error(drawn, *how)


def run(model: Any, x: jax.Array) -> Any:
    """The model of a batch in evaluation mode; numbers are taken in the dtype of its first parameters."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))]
    x = x.astype(dtypes[0]) if dtypes and jnp.issubdtype(x.dtype, jnp.floating) else x
    parts: tuple[Any, ...] = model if isinstance(model, tuple) and len(model) == 2 else (model,)
    module, *state = parts
    if isinstance(module, eqx.Module):
        evaluated: Any = eqx.nn.inference_mode(module)
        return jax.vmap(lambda example: evaluated(example, *state)[0] if state else evaluated(example))(x)
    if "flax.nnx" not in sys.modules or not isinstance(model, sys.modules["flax.nnx"].Module):
        raise InputError("the factory must return an Equinox module, a pair of one and its state, or a Flax NNX "
                         f"module, got {type(model).__name__}")
    module.eval()
    return module(x)
