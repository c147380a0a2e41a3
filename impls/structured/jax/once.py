"""Cotangents that are read more than once, computed once by XLA's CPU backend as well."""

from __future__ import annotations

from typing import Any

import jax


@jax.custom_vjp
def once(x: Any, true: Any) -> Any:
    """x, whose cotangent XLA puts into memory before anything reads it. `true`: True, as an argument of the program.

    Else the CPU backend fuses elementwise operations into whatever reads them: on the way back through residual layers
    a cotangent is a sum along all layers that lie above, and was computed anew for each reader in each of them, which
    took half the passes of a transformer with 4 layers (seen: jaxlib 0.10.2). That backend drops optimization barriers
    before it fuses, but leaves a condition alone whose answer it does not know.
    """
    return x


def _backward(true: Any, g: Any) -> tuple[Any, None]:
    return jax.lax.platform_dependent(true, g, cpu=_conditional, default=lambda true, g: g), None


def _conditional(true: Any, g: Any) -> Any:
    return jax.lax.cond(true, lambda g: g, lambda g: -g, g)


once.defvjp(lambda x, true: (x, true), _backward)
