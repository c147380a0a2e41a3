"""The matrix-product bound of `structured_jax`: its plan's products as ``jax.numpy.matmul``, each compiled alone."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bench.bounds import ENGINES, KIND
from bench.products import products
from impls.jax_support import device, functional, precision
from impls.structured_jax import METHODS
from reference import Case, Request


class Bound:
    """With the interface of a method; what its callable returns is the last of the products."""

    name, framework, kind = ENGINES["structured_jax"], "jax", KIND

    def unsupported(self, case: Case, request: Request) -> str | None:
        return METHODS[0].unsupported(case, request)

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        f, params, x1, x2 = functional(case, request)
        gemms = products(METHODS[0].engine(f, params, x1, x2, request).plan)
        shapes = {shape for g in gemms for shape in ((g.batch, g.m, g.k), (g.batch, g.k, g.n))}
        with precision(request.dtype):
            arrays = {shape: jnp.ones(shape, request.dtype, device=device(request.device)) for shape in shapes}
        multiply = jax.jit(jnp.matmul)

        def run() -> jax.Array:
            last = x1
            with precision(request.dtype):
                for g in gemms:
                    last = jax.block_until_ready(multiply(arrays[g.batch, g.m, g.k], arrays[g.batch, g.k, g.n]))
            return last

        return run


BOUND = Bound()
