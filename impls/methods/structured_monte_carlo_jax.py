"""`structured_jax.monte_carlo`: the kernel from random directions, pushed in blocks through one linearised pass.

K̂ = (1/S) Σ_s (J1 v_s)(J2 v_s)ᵀ with E[v_s v_sᵀ] = 1 is unbiased; how directions share their draws, see
`impls.structured.projections`. Cost: S tangent passes over all examples, whose dense layers are matrix products of N·S
rows, N²O²S for the products, and P·S/64 random numbers; memory: S·N·O, and some directions. Convention: the harness's
own, nothing is converted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from impls.frameworks.jax.kept import kept
from impls.frameworks.jax.support import Batched, precision
from impls.methods.options import projection_options
from impls.networks.jax_case import functional, unsupported_network
from impls.protocol import Framework, Kind
from impls.structured.jax.monte_carlo import Estimator
from reference import Case, Request


@dataclass(frozen=True)
class MonteCarlo:
    """Options: `proj_dim` (S, default 1024) and `distribution`, "gaussian" or "rademacher".

    The request's seed decides the directions: the same seed gives the same kernel bit for bit, kernels of other
    examples with that seed share the directions, and `batch_size` changes the values by rounding alone.
    """

    name: str = "structured_jax.monte_carlo"
    framework: Framework = "jax"
    kind: Kind = "stochastic"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_network(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        f, params, x1, x2 = functional(case, request)
        estimator = self._estimator(f, params, request)

        def compute() -> jax.Array:
            with precision(request.dtype):
                return estimator(params, x1, x2, request.seed, request.outputs)

        return compute

    def kernel(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None, request: Request) -> jax.Array:
        """An unbiased estimate of the kernel of a batched ``f(params, x)``, in the dtype of `params`."""
        with precision(request.dtype):
            return self._estimator(f, params, request)(params, x1, x2, request.seed, request.outputs)

    def _estimator(self, f: Batched, params: Any, request: Request) -> Estimator:
        proj_dim, distribution = projection_options(self.name, request)
        return kept(Estimator, f, params, proj_dim=proj_dim, distribution=distribution, batch_size=request.batch_size)


METHODS = (MonteCarlo(),)
