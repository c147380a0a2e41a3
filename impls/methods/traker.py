"""traker 0.3.2 (Park et al. 2023, arXiv 2303.14186): per-example gradients, projected by its `BasicProjector`.

Convention: g P with P of independent entries of variance 1, not divided by its dimension S. Converted: K̂ = φ₁ φ₂ᵀ/S
with φ = J P for every example and output. One P serves all of them. Its faster projector needs CUDA and is not used.

Blocks of 100 columns are drawn from the seeds seed + 1000·block, so that of two seeds which differ by a multiple of
1000 the second repeats blocks of the first; the request's seed is spread out first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from impls.frameworks.imports import invalid_escapes
from impls.frameworks.torch.blocks import assemble, contract
from impls.frameworks.torch.support import precision
from impls.methods.options import projection_options
from impls.networks.torch_native import built, unsupported
from reference import Case, Request

with invalid_escapes():
    from trak.gradient_computers import FunctionalGradientComputer
    from trak.projectors import BasicProjector, ProjectionType

TYPES: dict[str, Any] = {"gaussian": ProjectionType.normal, "rademacher": ProjectionType.rademacher}

@dataclass(frozen=True)
class RandomProjection:
    """Options: `proj_dim` (S, default 1024) and `distribution`, "gaussian" or "rademacher".

    The request's seed decides the projections; `batch_size` changes the kernel by rounding alone.
    """

    name: str = "traker.random_projection"
    framework: Literal["torch"] = "torch"
    kind: Literal["stochastic"] = "stochastic"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        proj_dim, distribution = projection_options(self.name, request)
        module, _, _, x1, x2 = built(case, request)
        return lambda: _estimate(module, x1, x2, request, proj_dim, distribution)


def _estimate(module: nn.Module, x1: Tensor, x2: Tensor | None, request: Request, proj_dim: int,
              distribution: str) -> Tensor:
    trained = {name: param for name, param in module.named_parameters() if param.requires_grad}
    n_params = sum(param.numel() for param in trained.values())
    dtype = next(iter(trained.values())).dtype
    projector = BasicProjector(n_params, proj_dim, _spread(request.seed), TYPES[distribution], x1.device,
                               dtype=dtype)
    with torch.no_grad(), precision(dtype):
        kernel = assemble(lambda x: _project(module, list(trained), projector, x),
                          lambda left, right: contract(left, right, request.outputs), x1, x2, request.batch_size)
    return kernel / proj_dim


def _spread(seed: int) -> int:
    """Of 32 bits, as many as PyTorch's generator on the CPU looks at."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


def _project(module: nn.Module, trained: list[str], projector: BasicProjector, x: Tensor) -> Tensor:
    """φ of every example and output, (N, O, S)."""
    n_outputs = module(x[:1]).numel()
    output: Any = _Output()
    gradients = FunctionalGradientComputer(module, output, projector.grad_dim, projector.dtype, x.device, trained)
    index = torch.arange(n_outputs, device=x.device)
    # Each example once for every output: traker differentiates one number for each.
    rows = gradients.compute_per_sample_grad((x.repeat_interleave(n_outputs, 0), index.repeat(len(x))))
    return projector.project(rows, model_id=0).reshape(len(x), n_outputs, -1)


class _Output:
    """In traker's terms a model output function: one output, which the batch names."""

    @staticmethod
    def get_output(model: nn.Module, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor,
                   index: Tensor) -> Tensor:
        y = functional_call(model, (weights, buffers), (x.unsqueeze(0),)).flatten()
        return y.gather(0, index[None])[0]


METHODS = (RandomProjection(),)
