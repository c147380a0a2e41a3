"""A JAX function with the result of every operation moved as rounding might: an interpreter of jaxprs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal

from impls.frameworks.jax.support import bind

# What moves numbers and rounds none.
_EXACT = frozenset({"reshape", "transpose", "broadcast_in_dim", "slice", "squeeze", "concatenate", "gather", "rev",
                    "pad", "dynamic_slice", "expand_dims", "copy", "neg", "abs", "max", "min", "select_n", "split",
                    "stop_gradient", "reduce_max", "reduce_min", "sign", "floor", "ceil", "round"})
_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "checkpoint",
          "remat2")


def moved(value: jax.Array, unit: Any, key: jax.Array) -> jax.Array:
    """Each entry times 1 + `unit`·r, r uniform in [−1, 1]; `unit` is at least the dtype's own. Whole numbers stay."""
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return value
    own = 0.0 if value.dtype in (jnp.float64, jnp.complex128) else float(jnp.finfo(value.dtype).eps)
    r = jax.random.uniform(key, value.shape, jnp.float64, -1, 1)
    changed = (value * (1 + jnp.maximum(unit, own) * r)).astype(value.dtype)
    return changed if jnp.iscomplexobj(value) else jnp.where(value == jnp.round(value), value, changed)


def rounded(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """``g(key, unit, *arguments)``: what `function` gives where every operation's result is `moved`."""

    def run(key: jax.Array, unit: Any, *arguments: jax.Array) -> jax.Array:
        closed = jax.make_jaxpr(function)(*arguments)
        return _run(closed.jaxpr, closed.consts, arguments, key, unit)[0]

    return run


def _run(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any], key: jax.Array, unit: Any) -> list[Any]:
    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))

    def read(var: Any) -> Any:
        return var.val if isinstance(var, Literal) else values[var]

    for i, eqn in enumerate(jaxpr.eqns):
        results = _operation(eqn, [read(v) for v in eqn.invars], jax.random.fold_in(key, i), unit)
        values.update(zip(eqn.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _operation(eqn: Any, values: list[Any], key: jax.Array, unit: Any) -> list[Any]:
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return _scan(params, values, key, unit)
    inner = next((params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params), None)
    if name in _CALLS and inner is not None:
        jaxpr, consts = (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())
        return _run(jaxpr, consts, values, key, unit)
    results = bind(eqn.primitive, params, values)
    results = list(results) if eqn.primitive.multiple_results else [results]
    if name in _EXACT:
        return results
    return [moved(result, unit, jax.random.fold_in(key, i)) for i, result in enumerate(results)]


def _scan(params: Any, values: list[Any], key: jax.Array, unit: Any) -> list[Any]:
    """Each step is moved by itself: in a recurrence, what rounding does grows from step to step."""
    body, n_consts, n_carry = params["jaxpr"], params["num_consts"], params["num_carry"]
    consts, carry, xs = values[:n_consts], values[n_consts:n_consts + n_carry], values[n_consts + n_carry:]

    def step(state: Any, x: Any) -> Any:
        i, *held = state
        results = _run(body.jaxpr, body.consts, [*consts, *held, *x], jax.random.fold_in(key, i), unit)
        return (i + 1, *results[:n_carry]), tuple(results[n_carry:])

    (_, *carry), ys = jax.lax.scan(step, (jnp.int32(0), *carry), tuple(xs), params["length"], params["reverse"])
    return [*carry, *ys]
