"""The truth of `tests.models.truth` for JAX: one `jax.vjp` for each example, one pull for each output, in float64.

It calls the module as its own framework does, compiled without optimisation, and shares nothing with the methods that
it judges: neither how they find the parameters, nor how they compile.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from tests.models.entry import N_EXAMPLES, Made

PLAIN = {"xla_backend_optimization_level": "0", "xla_cpu_experimental_ynn_fusion_type": ""}
"""Of XLA: quick to compile, and without the library of which impls/xla.py tells."""


def in_float64(made: Made) -> Made:
    """Model, parameters and inputs in double precision, complex numbers included; jax_enable_x64 is set."""
    model = _cast(made.model) if made.double is None else made.double()
    return replace(made, model=model, x=_cast(made.x), options=_cast(made.options))


def kernel(made: Made) -> np.ndarray:
    """The trace kernel (N, N), in the dtype of the parameters."""
    f, params = function(made)

    def gradient(params: Any, x: Any, output: Any) -> Any:
        y, pull = jax.vjp(lambda params: f(params, x)[0].reshape(-1), params)
        return pull(jnp.zeros_like(y).at[output].set(1))[0]

    gradient = jax.jit(gradient, compiler_options=PLAIN)
    twice = [jax.tree.map(lambda leaf, n=n: np.asarray(leaf)[[n, n]], made.x) for n in range(N_EXAMPLES)]
    n_outputs = jax.eval_shape(lambda params, x: f(params, x)[0], params, twice[0]).size
    rows = [[_flat(gradient(params, x, output)) for output in range(n_outputs)] for x in twice]
    found = np.zeros((N_EXAMPLES, N_EXAMPLES))
    for n, m in np.ndindex(found.shape):
        found[n, m] = sum(float(a @ b) for a, b in zip(rows[n], rows[m], strict=True))
    return found


def function(made: Made) -> tuple[Callable[[Any, Any], Any], Any]:
    """``f(params, x)`` of a batch in evaluation mode, and what is trained."""
    model: Any = made.model
    params = made.options.get("params")
    if isinstance(model, eqx.Module) and params is None:
        trained, rest = eqx.partition(eqx.nn.inference_mode(model), eqx.is_inexact_array)
        return lambda params, x: jax.vmap(eqx.combine(params, rest))(x), trained
    if isinstance(model, nnx.Module):
        model.eval()
        graph, trained, rest = nnx.split(model, nnx.Param, ...)
        return lambda params, x: nnx.merge(graph, params, rest)(x), trained
    if isinstance(model, linen.Module):
        assert params is not None
        fixed = {name: value for name, value in params.items() if name != "params"}
        told = inspect.signature(type(model).__call__).parameters
        calls: dict[str, Any] = {"train": False} if "train" in told else {}
        return lambda params, x: model.apply({"params": params, **fixed}, x, **calls), params["params"]
    return made.model, params


def count(params: Any) -> int:
    """Numbers that are trained; a complex one is two."""
    return sum(leaf.size * (1 + jnp.iscomplexobj(leaf)) for leaf in jax.tree.leaves(params))


def _flat(gradient: Any) -> np.ndarray:
    """JAX's gradient with respect to a complex leaf is ∂/∂re − i ∂/∂im: the signs of pairs do not change K."""
    leaves: list[Any] = [np.asarray(leaf).reshape(-1) for leaf in jax.tree.leaves(gradient)]
    return np.concatenate([part for leaf in leaves for part in (leaf.real, leaf.imag)])


def _cast(tree: Any) -> Any:
    if isinstance(tree, nnx.Module):
        graph, state = nnx.split(tree)
        return nnx.merge(graph, _cast(state))
    return jax.tree.map(_double, tree)


def _double(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array | np.ndarray) or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    return jnp.asarray(leaf, "complex128" if jnp.iscomplexobj(leaf) else "float64")
