"""The structured engine for PyTorch: any `torch.nn.Module` or function in evaluation mode, without a Jacobian.

Our own method (`impls.structured`); its conventions are this project's, nothing is converted. Option `memory_limit`: bytes
that it may use beyond the kernel itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from impls.options import check_options
from impls.structured.planner import Plan
from impls.structured.torch_engine import Engine
from impls.torch_support import Forward, Params, functional, unsupported
from reference import Case, Request


@dataclass(frozen=True)
class StructuredTorch:
    """What the forward and backward passes say about each parameter, contracted as a planner finds cheapest."""

    name: str = "structured_torch"
    framework: Literal["torch"] = "torch"
    kind: Literal["exact"] = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        f, params, x1, x2 = functional(case, request)
        engine = self._engine(f, params, x1, x2, request)
        return lambda: engine(params, x1, x2)

    def kernel(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
        """Trace, plan and compute."""
        return self._engine(f, params, x1, x2, request)(params, x1, x2)

    def plan(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Plan:
        """What would be done for each parameter; nothing is computed."""
        return self._engine(f, params, x1, x2, request).plan

    def _engine(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Engine:
        options = check_options(self.name, request, {"memory_limit": None})
        return Engine(f, params, x1, x2, outputs=request.outputs, batch_size=request.batch_size, **options)


METHODS = (StructuredTorch(),)
