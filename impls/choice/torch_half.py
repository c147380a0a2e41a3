"""What the choice asks of PyTorch: a network's plan and a forward pass counted; how fast its basic operations are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from impls.choice.costs import Facts
from impls.choice.rates import Sizes
from impls.choice.torch_one_call import predicted as one_call
from impls.frameworks.torch.operations import operations
from impls.frameworks.torch.support import DTYPES, Forward, Params, precision
from impls.networks.torch_case import functional
from impls.structured.torch.engine import Engine
from reference import Request
from reference.case import Device, DType

__all__ = ["engine", "facts", "functional", "one_call", "stand_in", "workloads"]

OPERATIONS_PER_PARAMETER = 3
"""Where a network cannot be written down; two layers of a weight and a bias are some twelve operations."""


def stand_in(x: Tensor, n: int) -> Tensor:
    """Of the shape of n examples like those of `x`; no memory stands behind it."""
    return x[:1].expand(n, *x.shape[1:])


def facts(engine: Engine, f: Forward, params: Params, x1: Tensor, request: Request) -> Facts:
    """Of the batched f with examples like those of x1; `engine` was made for it."""
    counted = operations(f, params, x1)
    program = None if engine.factors is None else engine.factors.program
    n_operations = OPERATIONS_PER_PARAMETER * len(params) if program is None else len(program.steps)
    return Facts("torch", engine.plan, sum(p.numel() for p in params.values()), counted.matmul_flops,
                 counted.convolution_flops, n_operations, per_example=program is None)


def engine(method: Any, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Engine:
    return method.engine(f, params, x1, x2, request, once=True)


def workloads(device: Device, dtype: DType, sizes: Sizes) -> tuple[Callable[[], Any], ...]:
    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(shape, dtype=DTYPES[dtype], device=device)

    def ready(compute: Callable[..., torch.Tensor], *arrays: torch.Tensor) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad(), precision(dtype):
                compute(*arrays)
                if device == "cuda":
                    torch.cuda.synchronize()
        return run

    matrix, image = ones(sizes.matrix, sizes.matrix), ones(8, sizes.channels, sizes.image, sizes.image)
    kernel = ones(sizes.channels, sizes.channels, 3, 3)
    long, short = ones(sizes.copied), ones(8)
    target = torch.empty_like(long)
    return (ready(torch.mm, matrix, matrix), ready(lambda x, w: conv2d(x, w, padding=1), image, kernel),
            ready(lambda x: torch.add(x, x, out=target), long), lambda: torch.add(short, short))
