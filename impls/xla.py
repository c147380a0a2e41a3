"""How the JAX adapters compile: as `jax.jit` does, without one step of XLA's that computes wrong numbers on the CPU.

XLA of jaxlib 0.8.3 and later hands matrix products, and sums with what is summed, to the library YNN on the CPU. With
jaxlib 0.10.2 the float32 Jacobian of a transformer (one layer, width 128, 64 positions, as many outputs) is then off by
6 %, whatever method computes it; without the sums, or with `jax.disable_jit`, it is right to 4e-7 (tests/test_xla.py).
The products stay with YNN: where rows lie a multiple of the page size apart, XLA's own read a transposed right side
from few sets of the cache (seen: (64, 1024) by (1024, 1024)ᵀ at 29 GFLOP/s, and at 93 by YNN).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax

_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"
_CHOICES = {_LIBRARY: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}, {_LIBRARY: ""}
"""The products alone, or nothing, goes to the library: the first that XLA knows."""

_UNKNOWN = "No such compile option", "is not a valid enum value"


@cache
def options() -> dict[str, str]:
    """What to give `jax.jit` as `compiler_options`; empty where XLA does not know the step."""
    return next((choice for choice in _CHOICES if _known(choice)), {})


def _known(choice: dict[str, str]) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options=choice)()
    except jax.errors.JaxRuntimeError as error:
        if not any(unknown in str(error) for unknown in _UNKNOWN):
            raise
        return False
    return True


def compiled(function: Callable[..., Any], jit: Callable[..., Any] = jax.jit, **settings: Any) -> Callable[..., Any]:
    """`jit(function, **settings)` with these options. Nothing is asked of JAX before the first call."""

    @cache
    def program() -> Callable[..., Any]:
        return jit(function, compiler_options=options(), **settings)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return program()(*args, **kwargs)

    return call
