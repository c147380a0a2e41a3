"""Loops of unknown length (`lax.while_loop`), which only forward-mode differentiation passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax

from impls.frameworks.jax.support import jaxprs_in

_REVERSE = "Reverse-mode differentiation does not work"
_FORWARD = "forward-mode autodiff (jvp) to a custom_vjp function"


def loops(name: str, params: Mapping[str, Any]) -> bool:
    """Whether an operation runs a loop of unknown length that has no derivative of its own."""
    if name == "while" or name.startswith("custom"):
        return name == "while"
    return any(loops(eqn.primitive.name, eqn.params) for jaxpr in jaxprs_in(params) for eqn in jaxpr.eqns)


def jacobian(f: Callable[[Any], Any], params: Any, *, forward: bool) -> Any:
    """Of f at `params`, in forward or in reverse mode, or in the other one where JAX has only that: reverse mode passes
    no loop of unknown length, and forward mode no `jax.custom_vjp`."""
    first, second = (jax.jacfwd, jax.jacrev) if forward else (jax.jacrev, jax.jacfwd)
    try:
        return first(f)(params)
    except (ValueError, TypeError) as error:
        if _REVERSE not in str(error) and _FORWARD not in str(error):
            raise
    return second(f)(params)


@contextmanager
def reverse_mode(by: str) -> Iterator[None]:
    """Inside, a loop that reverse mode cannot pass raises `NotImplementedError`, which says so of the method `by`."""
    try:
        yield
    except ValueError as error:
        if _REVERSE not in str(error):
            raise
        raise NotImplementedError(f"{by} differentiates in reverse mode, which JAX does not have of a loop of unknown "
                                  "length (lax.while_loop, or lax.fori_loop with bounds that are computed); "
                                  "structured_jax and equinox.exact pass it in forward mode") from error
