"""`structured_torch.monte_carlo`: the kernel from random directions, pushed in blocks through one forward pass.

K̂ = (1/S) Σ_s (J1 v_s)(J2 v_s)ᵀ with E[v_s v_sᵀ] = 1 is unbiased; how directions share their draws, see
`impls.structured.projections`. Cost: S tangent passes over all examples, whose dense layers are matrix products of N·S
rows, N²O²S for the products, and P·S/64 random numbers; memory: S·N·O, and some directions. Convention: the harness's
own, nothing is converted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor

from impls.frameworks.torch.support import Forward, Params, differentiating, precision
from impls.methods.options import projection_options
from impls.networks.torch_case import functional, unsupported_function
from impls.networks.torch_native import unsupported_forward_mode
from impls.protocol import Framework, Kind
from impls.structured.torch.monte_carlo import Estimator
from reference import Case, Request


@dataclass(frozen=True)
class MonteCarlo:
    """Options: `proj_dim` (S, default 1024) and `distribution`, "gaussian" or "rademacher".

    The request's seed decides the directions: the same seed gives the same kernel bit for bit, kernels of other
    examples with that seed share the directions, and `batch_size` changes the values by rounding alone.
    """

    name: str = "structured_torch.monte_carlo"
    framework: Framework = "torch"
    kind: Kind = "stochastic"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_function(case) or unsupported_forward_mode(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        f, params, x1, x2 = functional(case, request)
        estimator = self._estimator(f, params, request)

        def compute() -> Tensor:
            with precision(request.dtype), self._differentiating(f, params, x1):
                return estimator(params, x1, x2, request.seed)

        return compute

    def kernel(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
        """An unbiased estimate of the kernel of a batched ``f(params, x)``, in the dtype of `params`."""
        with precision(request.dtype), self._differentiating(f, params, x1):
            return self._estimator(f, params, request)(params, x1, x2, request.seed)

    def _differentiating(self, f: Forward, params: Params, x: Tensor) -> AbstractContextManager[None]:
        return differentiating(self.name, lambda: f({name: p.detach().requires_grad_() for name, p in params.items()},
                                                    x[:1]))

    def _estimator(self, f: Forward, params: Params, request: Request) -> Estimator:
        proj_dim, distribution = projection_options(self.name, request)
        return Estimator(f, params, outputs=request.outputs, proj_dim=proj_dim, distribution=distribution,
                         batch_size=request.batch_size)


METHODS = (MonteCarlo(),)
