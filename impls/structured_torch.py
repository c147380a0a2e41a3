"""`structured_torch`: the structured engine of this project for any PyTorch module or function; see `impls.structured`.

Cost for a fully connected network, as structured derivatives (Novak et al. 2022, arXiv 2206.08720, table 1), N²LO²W +
N·L·O·W², but half of the first where x2 = x1, and never a parameter by itself. Convention: the harness's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from impls.options import check_options
from impls.protocol import Framework, Kind
from impls.structured.explain import explain
from impls.structured.torch_engine import Engine
from impls.torch_support import Forward, Params, functional, unsupported
from reference import Case, Request

OPTIONS = {"memory_limit": None, "explain": False}


@dataclass(frozen=True)
class Structured:
    """Options: `memory_limit` (bytes beyond the kernel itself; None: no limit), `explain` (print the plan)."""

    name: str = "structured_torch"
    framework: Framework = "torch"
    kind: Kind = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        f, params, x1, x2 = functional(case, request)
        engine = self.engine(f, params, x1, x2, request)
        return lambda: engine(params, x1, x2)

    def kernel(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
        """The kernel of a batched ``f(params, x)`` at `params`, in their dtype; see `Request` for its shape."""
        return self.engine(f, params, x1, x2, request)(params, x1, x2)

    def engine(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Engine:
        """What `kernel` runs; to be kept by those who need kernels of one network at many parameters."""
        options = check_options(self.name, request, OPTIONS)
        engine = Engine(
            f,
            params,
            x1,
            x2,
            outputs=request.outputs,
            batch_size=request.batch_size,
            memory_limit=options["memory_limit"],
        )
        if options["explain"]:
            print(explain(engine.plan))
        return engine


METHODS = (Structured(),)
