"""The matrix-product bound of `structured_torch`: its plan's products as ``torch.matmul``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.cells.bounds import ENGINES, KIND
from bench.cells.products import products
from impls.frameworks.torch.support import DTYPES, precision
from impls.methods.structured_torch import METHODS
from impls.networks.torch_case import functional
from reference import Case, Request


class Bound:
    """With the interface of a method; what its callable returns is the last of the products."""

    name, framework, kind = ENGINES["structured_torch"], "torch", KIND

    def unsupported(self, case: Case, request: Request) -> str | None:
        return METHODS[0].unsupported(case, request)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        f, params, x1, x2 = functional(case, request)
        gemms = products(METHODS[0].engine(f, params, x1, x2, request).plan)
        names = {name for gemm in gemms for name in gemm.operands}
        arrays = {name: torch.ones(name[2:], dtype=DTYPES[request.dtype], device=x1.device) for name in names}

        def run() -> Tensor:
            last = x1
            with torch.no_grad(), precision(request.dtype):
                for gemm in gemms:
                    left, right = gemm.operands
                    last = torch.matmul(arrays[left], arrays[right])
            return last

        return run


BOUND = Bound()
