"""The matrix-product bound of `structured_torch`: its plan's products as ``torch.matmul``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.bounds import ENGINES, KIND
from bench.products import products
from impls.structured_torch import METHODS
from impls.torch_support import DTYPES, functional, precision
from reference import Case, Request


class Bound:
    """With the interface of a method; what its callable returns is the last of the products."""

    name, framework, kind = ENGINES["structured_torch"], "torch", KIND

    def unsupported(self, case: Case, request: Request) -> str | None:
        return METHODS[0].unsupported(case, request)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        f, params, x1, x2 = functional(case, request)
        gemms = products(METHODS[0].engine(f, params, x1, x2, request).plan)
        shapes = {shape for g in gemms for shape in ((g.batch, g.m, g.k), (g.batch, g.k, g.n))}
        arrays = {shape: torch.ones(shape, dtype=DTYPES[request.dtype], device=x1.device) for shape in shapes}

        def run() -> Tensor:
            last = x1
            with torch.no_grad(), precision(request.dtype):
                for g in gemms:
                    last = torch.matmul(arrays[g.batch, g.m, g.k], arrays[g.batch, g.k, g.n])
            return last

        return run


BOUND = Bound()
