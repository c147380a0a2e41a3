"""The matrix-product bound: the time of the products that a structured engine's plan cannot do without.

The products are those of the plan (`bench.cells.products`), in full and with nothing between them, as plain calls of
the framework. A bound computes no kernel: it is no method, is never ranked, and stands beside the methods for scale.
"""

from __future__ import annotations

import importlib
from typing import Any

from impls.protocol import Framework, Method

KIND = "bound"

# (name, framework, module), as in the registry.
METHODS: tuple[tuple[str, Framework, str], ...] = (
    ("matrix-product bound (jax)", "jax", "bench.cells.bound_jax"),
    ("matrix-product bound (torch)", "torch", "bench.cells.bound_torch"),
)
NAMES = tuple(name for name, _, _ in METHODS)

# The engine whose plan and framework a bound is about.
ENGINES = {"structured_jax": NAMES[0], "structured_torch": NAMES[1]}


def load(name: str) -> Method:
    """The bound of that name, with the interface of a method; raises as `impls.load` does where it is not installed."""
    import impls

    engine = next(engine for engine, bound in ENGINES.items() if bound == name)
    impls.load(engine)  # says how to get what is missing
    module: Any = importlib.import_module(next(module for known, _, module in METHODS if known == name))
    return module.BOUND
