"""How the JAX adapters compile: as `jax.jit` does, without one step of XLA's that computes wrong numbers on the CPU.

XLA of jaxlib 0.8.3 and later hands matrix products, and sums with what is summed, to the library YNN on the CPU. With
jaxlib 0.10.2 the float32 Jacobian of a transformer (one layer, width 128, 64 positions, as many outputs) is then off by
6 %, whatever method computes it; without the sums, or with `jax.disable_jit`, it is right to 4e-7
(tests/impls/frameworks/test_xla.py). The products stay with YNN: where rows lie a multiple of the page size apart,
XLA's own read a transposed right side from few sets of the cache (seen: (64, 1024) by (1024, 1024)ᵀ at 29 GFLOP/s, and
at 93 by YNN).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from itertools import product
from typing import Any

import jax

from reference import InputError

_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"
_PRODUCTS = {_LIBRARY: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}, {_LIBRARY: ""}, {}
"""The products alone, or nothing, goes to the library; the first that XLA knows."""

_IN_TURN = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}, {}
"""The CPU backend orders a program for the least memory. By default it is for steps that can run at the same time, and
what independent terms of a sum need is in memory at once: eight times as much for the contraction of a transformer,
which takes a third longer."""

_OLDER_LOOPS = {"xla_cpu_use_fusion_emitters": "False"}, {}
"""The CPU backend writes fused loops as it did before it had emitters in MLIR: the pads, slices and concatenations of a
ConvNet are compiled in two thirds of the time and run as fast, the activation functions of a transformer take twice as
long to compile."""

_QUICK = {"xla_backend_optimization_level": "0", "xla_cpu_use_fusion_emitters": "False"}, {}
"""For a program that runs once: compiled in half of the time, and slower."""

_UNKNOWN = "No such compile option", "is not a valid enum value"


def options(*, in_turn: bool = False, older_loops: bool = False, quick: bool = False) -> dict[str, str]:
    """What to give `jax.jit` as `compiler_options`, as far as XLA knows it.

    `in_turn`: independent steps one by one. `older_loops`: for programs of convolutions. `quick`: for one run.
    """
    products, order, loops, once = _first_known()
    return products | (order if in_turn else {}) | (loops if older_loops else {}) | (once if quick else {})


@cache
def _first_known() -> tuple[dict[str, str], dict[str, str], dict[str, str], dict[str, str]]:
    every = product(_PRODUCTS, _IN_TURN, _OLDER_LOOPS, _QUICK)
    return next(some for some in every if _known(some[0] | some[1] | some[2] | some[3]))


def _known(choice: dict[str, str]) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options=choice)()
    except jax.errors.JaxRuntimeError as error:
        if not any(unknown in str(error) for unknown in _UNKNOWN):
            raise
        return False
    return True


def compiled(function: Callable[..., Any], jit: Callable[..., Any] = jax.jit, *, in_turn: bool = False,
             older_loops: bool = False, quick: bool = False, **settings: Any) -> Callable[..., Any]:
    """`jit(function, **settings)` with these options. Nothing is asked of JAX before the first call.

    Its calls raise `InputError` inside another `jax.jit` or `jax.grad`, where JAX takes no options.
    """

    @cache
    def program() -> Callable[..., Any]:
        return jit(function, compiler_options=options(in_turn=in_turn, older_loops=older_loops, quick=quick),
                   **settings)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return program()(*args, **kwargs)
        except ValueError as error:
            if "compiler_options" not in str(error):
                raise
            raise InputError("a kernel cannot be computed inside jax.jit or jax.grad: it is compiled with options of "
                             "its own (impls.frameworks.jax.xla says why), which JAX takes at the outermost level "
                             "only. Call it outside; it is compiled once for its shapes as it is") from error

    return call
