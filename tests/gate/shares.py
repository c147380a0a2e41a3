"""What a run of many methods asks each of them for: a share of the gate's tests, drawn anew at each run.

A run of a single method asks for all. So does one of many for values, in the forms that `checks.is_due` says and of
those that choose among others on a third of the cases, and for what a method leaves behind; the rest takes turns. Over
the methods, and over the runs, all of it is asked.
"""

from __future__ import annotations

from reference import seed_of
from tests.gate.checks import CHOOSERS

DRAWN = {"test_drawn", "test_calls", "test_surroundings", "test_functions", "test_stochastic_drawn", "test_limit_drawn"}
"""Modules of which what they ask is drawn itself."""

OF_EACH = {"test_independence", "test_requests", "test_laws"}
"""Modules that ask every method the same of every case, or of random networks of each family."""

MANY_PROJECTIONS = {"test_unbiased", "test_convergence"}
"""The dearest tests of a random method, of one case after the other."""

HALF = 1 / 2

OF_DRAWN_IN_JAX = 1 / 4
"""JAX compiles nearly every request anew."""

OF_CHOOSERS = 1 / 3
"""They compile several methods to choose one, and those are held to the same by their own names."""


def share_of(module: str, test: str, method: str, framework: str | None) -> float:
    """Of the tests of that name in that module of the gate, for a method of that framework: between 0 and 1."""
    if method in CHOOSERS and module in OF_EACH:
        return OF_CHOOSERS
    if module in DRAWN:
        return OF_DRAWN_IN_JAX if framework == "jax" else HALF
    if module in {"test_quantities", "test_laws"} or test in MANY_PROJECTIONS:
        return HALF
    return HALF if module in OF_EACH and framework == "jax" else 1


def is_drawn(test: str, share: float, seed: int) -> bool:
    """Whether the run with this seed asks for it: of all tests about that share, each as often as any."""
    return seed_of(f"{seed} {test}") <= share * 2**32
