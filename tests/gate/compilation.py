"""Quick compilation for the gate: nearly all its time is XLA's, on programs that run for a millisecond.

What a method computes is the same; what XLA makes of it is not optimised much. ``--optimized`` leaves XLA as its users
have it, for twice the time; `bench` always does, and checks every kernel that it times.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from impls import Method

# XLA's former code generator, which jaxlib 0.11 no longer has; less of LLVM's optimisation where few_optimizations is
# not in force; and a program in one piece: 32 of them, to be compiled side by side, take a fifth longer where there are
# as many workers as cores. A flag that XLA does not know ends the process, so only for versions that were tried.
_XLA_FLAGS = " ".join(("--xla_cpu_use_fusion_emitters=false", "--xla_backend_optimization_level=1",
                       "--xla_cpu_parallel_codegen_split_count=1"))
_TRIED_ON = ("0.8.", "0.9.", "0.10.")

_MANY_MAPPINGS = 16_000
"""Each compiled program takes a score of memory mappings, of which Linux allows a process 65530: the thousands of a
whole gate ended it with a segmentation fault."""


def set_xla_flags() -> None:
    """Effective only before JAX makes its first array. A value that XLA_FLAGS has already is left alone."""
    try:
        if version("jaxlib").startswith(_TRIED_ON):
            os.environ.setdefault("XLA_FLAGS", _XLA_FLAGS)
    except PackageNotFoundError:
        return


def drop_many_programs() -> None:
    """Drop what JAX compiled in this process, where that takes many mappings, or where nobody says how many.

    Not sooner: the small programs that each method runs between its own would be compiled anew.
    """
    jax, mappings = sys.modules.get("jax"), Path("/proc/self/maps")
    if jax is not None and not (mappings.exists() and mappings.read_bytes().count(b"\n") < _MANY_MAPPINGS):
        jax.clear_caches()


@contextmanager
def fitting_optimizations(method: Method, *, many_projections: bool) -> Iterator[None]:
    """Inside, JAX compiles what a test has `method` compute with few optimisations, where that pays.

    `many_projections`: the test asks random methods for thousands, which run long enough to be worth optimisations.
    """
    runs_long = method.kind == "stochastic" and many_projections
    with nullcontext() if method.framework != "jax" or runs_long else few_optimizations():
        yield


@contextmanager
def few_optimizations() -> Iterator[None]:
    """Inside, JAX compiles with few optimisations; nothing where it has not been imported."""
    if (jax := sys.modules.get("jax")) is None:
        yield
        return
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
