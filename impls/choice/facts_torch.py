"""What `costs` needs to know of a PyTorch network: the structured engine's plan, and a forward pass counted."""

from __future__ import annotations

from torch import Tensor

from impls.choice.costs import Facts
from impls.frameworks.torch.operations import operations
from impls.frameworks.torch.support import Forward, Params
from impls.given.batches import OwnBatches
from impls.structured.torch.engine import Engine
from reference import Request

OPERATIONS_PER_PARAMETER = 3
"""Where a network cannot be written down; two layers of a weight and a bias are some twelve operations."""


def stand_in(batches: OwnBatches) -> Tensor:
    """Of the shape of all examples together; no memory stands behind it."""
    return next(iter(batches))[:1].expand(len(batches), *batches.shape)


def facts(engine: Engine, f: Forward, params: Params, x1: Tensor, request: Request) -> Facts:
    """Of the batched f with examples like those of x1; `engine` was made for it."""
    counted = operations(f, params, x1)
    program = None if engine.factors is None else engine.factors.program
    n_operations = OPERATIONS_PER_PARAMETER * len(params) if program is None else len(program.steps)
    return Facts("torch", engine.plan, sum(p.numel() for p in params.values()), counted.matmul_flops,
                 counted.convolution_flops, n_operations, per_example=program is None)
