"""JAX's half: the functions of `jax.lax`, `jax.nn`, `jax.numpy.linalg` and `jax.numpy.fft`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.loops import jacobian
from impls.frameworks.jax.support import precision
from impls.structured.jax.engine import Engine
from reference import InputError
from tests.coverage.jax_operations import NOT_TRIED, OPERATIONS
from tests.coverage.table import Row

SPACES = {"jax.lax": jax.lax, "jax.nn": jax.nn, "jax.numpy.linalg": jnp.linalg, "jax.numpy.fft": jnp.fft}

Network = tuple[Callable[[Any, Any], Any], dict[str, Any]]


def operations() -> list[str]:
    """By full name, all that is public in the installed version."""
    return [f"{space}.{name}" for space, module in SPACES.items() for name, found in sorted(vars(module).items())
            if not name.startswith("_") and callable(found) and not inspect.isclass(found)]


def rows(names: Sequence[str] | None = None) -> Iterator[Row]:
    """One for each operation; `names`: of these alone."""
    for name in operations():
        if names is None or name in names:
            with precision("float64"):
                yield _row(name)


def _row(name: str) -> Row:
    if name not in OPERATIONS:
        return Row("jax", name, "not tried", NOT_TRIED.get(name, "no network is written for it"))
    found: list[Row] = []
    for network in networks(lambda h: flat(OPERATIONS[name](h))):
        row = _judged(name, *network)
        if row.outcome == "refused":
            return row
        found.append(row)
    fallen = [row for row in found if row.outcome == "fallback"]
    error = max(row.error for row in found if row.error is not None)
    return Row("jax", name, "fallback" if fallen else "rule", fallen[0].why if fallen else "", error)


def networks(operation: Callable[[Any], Any]) -> Iterator[Network]:
    """The operation at the end, and between two layers; one example is (4, 16), and h is (4, 6) in (0, 1).

    The parameters are more than any operation's outputs, so that the plan is not one in forward mode, without rules.
    """
    rng = np.random.default_rng(3)
    params = {"w": jnp.asarray(rng.uniform(0.02, 0.06, (16, 6))), "b": jnp.asarray(rng.uniform(0.01, 0.1, 6))}
    yield lambda p, x: jax.vmap(lambda one: operation(one @ p["w"] + p["b"]))(x), params
    size = jax.eval_shape(operation, jax.ShapeDtypeStruct((4, 6), "float64")).size
    more = {**params, "v": jnp.asarray(rng.standard_normal((size, 2)))}
    yield lambda p, x: jax.vmap(lambda one: operation(0.5 * jnp.sin(one @ p["w"] + p["b"]) + 0.3))(x) @ p["v"], more


def flat(y: Any) -> Any:
    """All numbers of a pytree of arrays as real ones, of complex ones both parts."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(y)]
    parts = [part for leaf in leaves for part in
             ((leaf.real, leaf.imag) if jnp.issubdtype(leaf.dtype, np.complexfloating) else (leaf,))]
    return jnp.concatenate([part.astype("float64").ravel() for part in parts])


def examples() -> Any:
    return jnp.asarray(np.random.default_rng(4).uniform(0.2, 0.9, (2, 4, 16)))


def _judged(name: str, f: Callable[[Any, Any], Any], params: dict[str, Any]) -> Row:
    x = examples()
    try:
        of_one = jax.jit(jax.vmap(lambda one: jacobian(lambda p: f(p, one[None])[0], params, forward=False)))(x)
        right = np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in of_one.values()], 2)
    except (NotImplementedError, TypeError, ValueError, AssertionError) as error:
        return Row("jax", name, "refused", f"JAX itself: {type(error).__name__}: {error}".splitlines()[0])
    try:
        engine = Engine(f, params, x, None, outputs="full")
        kernel = np.asarray(engine(params, x, None))
    except (InputError, NotImplementedError) as error:
        return Row("jax", name, "refused", f"{type(error).__name__}: {error}".splitlines()[0])
    truth = np.einsum("nap,mbp->nmab", right, right)
    error = float(np.abs(kernel - truth).max() / np.abs(truth).max())
    fallen = {step.parameter.name: step.parameter.rule.removeprefix("fallback: ") for step in engine.plan.steps
              if step.parameter.rule.startswith("fallback")}
    if not fallen:
        return Row("jax", name, "rule", "", error)
    return Row("jax", name, "fallback", f"{', '.join(fallen)}: {next(iter(fallen.values()))}", error)
