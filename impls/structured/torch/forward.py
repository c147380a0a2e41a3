"""The Jacobian in forward mode: one pass for each number of the parameters, where these are fewer than the outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import vmap

from impls.frameworks.torch.forward_mode import jvp
from impls.structured.planner import TANGENTS, Plan
from impls.structured.program import Constant, evaluate
from impls.structured.terms import JOINED, forward_terms
from impls.structured.torch.program import Program


class Tangents:
    """As `factors.Factors`, for a plan in forward mode. `join`: all parameters side by side."""

    def __init__(self, program: Program, plan: Plan, dtype: torch.dtype, *, join: bool = True) -> None:
        self.program, self.dtype, self.join = program, dtype, join
        self.used = [i for i, step in enumerate(plan.steps) if step.ways]
        self.terms = forward_terms(plan, joined=join)

    @property
    def constants(self) -> list[Tensor]:
        """The tensors that the passes read besides the parameters and the examples."""
        return constants(self.program)

    def __call__(self, parameters: Sequence[Tensor], x: Tensor) -> dict[str, Tensor]:
        """For a batch of examples."""
        each = {f"{i}": self._jacobian(parameters, i, x).to(self.dtype) for i in self.used}
        return {JOINED: torch.cat(list(each.values()), 2)} if self.join else each

    def _jacobian(self, parameters: Sequence[Tensor], i: int, x: Tensor) -> Tensor:
        """(O, N, P) of one parameter."""
        p = parameters[i]

        def outputs(p: Tensor) -> Tensor:
            some = [*parameters[:i], p, *parameters[i + 1 :]]
            return vmap(lambda x: evaluate(self.program, some, x, lambda step, read: step(read)))(x)

        def pushed(tangent: Tensor) -> Tensor:
            return jvp(outputs, (p,), (tangent,))[1]

        basis = torch.eye(p.numel(), dtype=p.dtype, device=p.device).unflatten(1, p.shape or (1,))
        basis = basis if p.ndim else basis[:, 0]
        rows = [vmap(pushed)(tangents) for tangents in basis.split(TANGENTS)]
        return torch.cat(rows).permute(2, 1, 0)


def constants(program: Program) -> list[Tensor]:
    """Those that the program reads."""
    read = [program.output, *(operand for step in program.steps for operand in step.inputs)]
    return [operand.value for operand in dict.fromkeys(read) if isinstance(operand, Constant)]
