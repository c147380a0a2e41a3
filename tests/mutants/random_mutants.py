"""Mistakes in the random projections of `equinox.monte_carlo`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from impls import Method
from impls.methods import equinox_monte_carlo
from impls.protocol import Array
from reference import Case, Request
from tests.mutants import mistakes
from tests.mutants.mutant import Mutant, Patch, after, attribute, entry, patched, together, wrapped


def _compiled_anew() -> Patch:
    """JAX keeps what it compiled by the function, so that this one has to be another."""
    compiled: Any = equinox_monte_carlo._project
    right = compiled.__wrapped__

    @eqx.filter_jit
    def project(*arguments: Any) -> jax.Array:
        return right(*arguments)

    return attribute(equinox_monte_carlo, "_project", project)


def _projects(**changes: Any) -> Patch:
    """`_project` with these things exchanged in its module."""
    exchanged = [attribute(equinox_monte_carlo, name, value) for name, value in changes.items()]
    patches = (_compiled_anew(), *exchanged)
    return lambda: together(patches)


def _drawn_by(distribution: Callable[..., jax.Array]) -> Patch:
    patches = (_compiled_anew(), entry(equinox_monte_carlo.DRAWN, "gaussian", distribution))
    return lambda: together(patches)


def _not_divided(kernel: Any, case: Case, request: Request) -> Array:
    return kernel * request.options["proj_dim"]


def _half_as_many(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """As antithetic ones would: v and −v give the same product."""
    return base.prepare(case, replace(request, options={"proj_dim": request.options["proj_dim"] // 2}))


_draw, _project = equinox_monte_carlo._draw, equinox_monte_carlo._project


def _same_in_each_chunk(params: Any, key: jax.Array, distribution: Any, s: jax.Array) -> Any:
    return _draw(params, key, distribution, s % 64)


def _same_for_each_leaf(params: Any, key: jax.Array, distribution: Any, s: jax.Array) -> Any:
    """Every parameter's draw starts from the same key, not from a split of it."""
    own = jax.random.fold_in(key, s)
    return jax.tree.map(lambda leaf: distribution(own, leaf.shape, leaf.dtype), params)


def _other_for_x2(f: Any, params: Any, x: jax.Array, key: jax.Array, *options: Any) -> jax.Array:
    """The second half of the examples is projected by projections of its own."""
    half = len(x) // 2
    first = _project(f, params, x[:half], key, *options)
    return jnp.concatenate([first, _project(f, params, x[half:], jax.random.fold_in(key, 1), *options)])


def _cut_off(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


def _random(name: str, item: str, what: str, make: Callable[[Method], Method], **options: Any) -> Mutant:
    where = {"case": "mlp_relu", **options}
    return Mutant(f"monte_carlo.{name}", item, "MLP", what, "equinox.monte_carlo", make, **where)


MUTANTS = (
    _random("not_divided", "14", "the sketch is not divided by its dimension", after(_not_divided)),
    _random("other_for_x2", "11", "later examples are projected by other projections",
            patched(attribute(equinox_monte_carlo, "_project", _other_for_x2)), symmetric=True),
    _random("one_key", "20", "one key for all repeats", wrapped(mistakes.ignoring_the_seed), check="test_seed"),
    _random("keys_repeat", "20", "the keys repeat after 64 projections", patched(_projects(_draw=_same_in_each_chunk)),
            symmetric=True),
    _random("one_key_for_all_leaves", "20", "each parameter is projected from the same key",
            patched(_projects(_draw=_same_for_each_leaf)), symmetric=True),
    _random("fewer", "", "64 projections, whatever was asked for", wrapped(mistakes.fewer_projections)),
    _random("half_as_many", "", "half of the projections that were asked for", wrapped(_half_as_many), case=None,
            check="test_spread"),
    _random("uniform", "", "projections uniform in (0, 1)", patched(_drawn_by(jax.random.uniform))),
    _random("truncated", "", "projections from a normal distribution cut off at 2, not rescaled",
            patched(_drawn_by(_cut_off)), symmetric=True),
)
