"""The Jacobian in forward mode: one pass for each number of the parameters, where these are fewer than the outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import vmap

from impls.frameworks.torch.forward_mode import jvp
from impls.programs.program import Constant
from impls.programs.torch.program import Program
from impls.structured import passes
from impls.structured.passes import Arrays
from impls.structured.planner import TANGENTS


class Tangents(passes.Tangents):
    """For a batch of examples."""

    @property
    def constants(self) -> list[Tensor]:
        """The tensors that the passes read besides the parameters and the examples."""
        return constants(self.program)

    def __call__(self, parameters: Sequence[Tensor], x: Tensor) -> Arrays:
        return self.named(parameters, x, torch.cat)

    def jacobian(self, parameters: Sequence[Tensor], i: int, x: Tensor) -> Tensor:
        p = parameters[i]

        def pushed(tangent: Tensor) -> Tensor:
            return jvp(lambda p: vmap(lambda x: self.outputs(parameters, i, x)(p))(x), (p,), (tangent,))[1]

        basis = torch.eye(p.numel(), dtype=p.dtype, device=p.device).reshape(-1, *p.shape)
        rows = [vmap(pushed)(tangents) for tangents in basis.split(TANGENTS)]
        return torch.cat(rows).permute(2, 1, 0).to(self.dtype)


def constants(program: Program) -> list[Tensor]:
    """Those that the program reads."""
    read = [program.output, *(operand for step in program.steps for operand in step.inputs)]
    return [operand.value for operand in dict.fromkeys(read) if isinstance(operand, Constant)]
