"""How the JAX adapters compile: as `jax.jit` does, without one step of XLA's that computes wrong numbers on the CPU.

XLA of jaxlib 0.8.3 and later hands sums in some large programs for the CPU to the library YNN. With jaxlib 0.10.2 the
float32 Jacobian of a transformer (one layer, width 128, 64 positions, as many outputs) is then off by 6 %, whatever
method computes it; without that step, or with `jax.disable_jit`, it is right to 2e-7 (tests/test_xla.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax

_WITHOUT_LIBRARY = {"xla_cpu_experimental_ynn_fusion_type": ""}


@cache
def options() -> dict[str, str]:
    """What to give `jax.jit` as `compiler_options`; empty where XLA does not know the step."""
    try:
        jax.jit(lambda: 0, compiler_options=_WITHOUT_LIBRARY)()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return {}
    return _WITHOUT_LIBRARY


def compiled(function: Callable[..., Any], jit: Callable[..., Any] = jax.jit, **settings: Any) -> Callable[..., Any]:
    """`jit(function, **settings)` with these options. Nothing is asked of JAX before the first call."""

    @cache
    def program() -> Callable[..., Any]:
        return jit(function, compiler_options=options(), **settings)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return program()(*args, **kwargs)

    return call
