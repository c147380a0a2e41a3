"""A right method as one writes it in JAX: with `jax.jit` as it is, wrong where XLA is (impls/frameworks/jax/xla.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from impls.frameworks.jax.contraction import contract
from impls.frameworks.jax.support import precision
from impls.networks.jax_case import functional
from impls.protocol import Framework, Kind
from reference import Case, Request


@dataclass(frozen=True)
class PlainJax:
    name: str = "planted.PLAIN_JAX"
    framework: Framework = "jax"
    kind: Kind = "exact"

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        f, params, x1, x2 = functional(case, request)

        @jax.jit
        def jacobians(params: Any, x: jax.Array) -> Any:
            return jax.jacrev(lambda params: f(params, x).reshape(len(x), -1))(params)

        def kernel() -> jax.Array:
            with precision(request.dtype):
                return contract(jacobians(params, x1), None if x2 is None else jacobians(params, x2), request.outputs)

        return kernel


PLAIN_JAX = PlainJax()
