"""The matrix-product bound of `structured_jax`: its plan's products as ``jax.numpy.matmul``, each compiled alone."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bench.cells.bounds import ENGINES, KIND
from bench.cells.products import products
from impls.frameworks.jax.support import device, precision
from impls.methods.structured_jax import METHODS
from impls.networks.jax_case import functional
from reference import Case, Request


class Bound:
    """With the interface of a method; what its callable returns is the last of the products."""

    name, framework, kind = ENGINES["structured_jax"], "jax", KIND

    def unsupported(self, case: Case, request: Request) -> str | None:
        return METHODS[0].unsupported(case, request)

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        f, params, x1, x2 = functional(case, request)
        gemms = products(METHODS[0].engine(f, params, x1, x2, request).plan)
        names = {name for gemm in gemms for name in gemm.operands}
        with precision(request.dtype):
            arrays = {name: jnp.ones(name[2:], request.dtype, device=device(request.device)) for name in names}
        multiply = jax.jit(jnp.matmul)

        def run() -> jax.Array:
            last = x1
            with precision(request.dtype):
                for gemm in gemms:
                    left, right = gemm.operands
                    last = jax.block_until_ready(multiply(arrays[left], arrays[right]))
            return last

        return run


BOUND = Bound()
