"""Gradients of parameters that no rule covers, from the cotangents of where they meet the examples.

A weight that is standardised, say, or put together of others, comes to its convolution as a function of parameters
alone. Where activations and cotangents of each meeting are known, its gradient is that of the one operation and of the
function before it: the network itself is run with one set of parameters, and not with one for each example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap

from impls.programs.program import Constant, Operand, Value, alive
from impls.programs.torch.program import Program, Step, is_differentiable

NOT_BATCHED = ("_cdist_forward", "_pdist_forward", "select_scatter", "slice_scatter", "as_strided_scatter")
"""Whose derivatives PyTorch's batching rules get wrong, or which may write in place."""


AT_ONCE = 1 << 14
"""Numbers of a parameter whose gradients go back for all outputs and examples at once, on a CPU: more leave the
caches."""


class Local:
    """`parameters`: of those asked for, the ones that it gives gradients of."""

    def __init__(self, program: Program, asked: Sequence[int]) -> None:
        self.parameters = [i for i in asked if _is_eligible(program, i)]
        self.inner = [value for i, value in enumerate(program.parameters) if i in self.parameters]
        self.outer = program.parameters
        self.steps = tuple(step for step in program.steps if any(_meets(step, i) for i in self.parameters))
        read = [value for step in self.steps for value in step.inputs if not _is_held(value)]
        self.before = alive([step for step in program.steps if not step.outputs[0].on_example], read)

    @property
    def ys(self) -> list[Value]:
        """Where cotangents are needed."""
        return [step.outputs[0] for step in self.steps]

    @property
    def held(self) -> list[Value]:
        """The activations that are needed."""
        read = [operand for step in self.steps for operand in step.inputs]
        return list(dict.fromkeys(v for v in read if isinstance(v, Value) and v.on_example))

    def gradients(
        self, parameters: Sequence[Tensor], held: Sequence[Tensor], cotangents: Sequence[Tensor]
    ) -> dict[int, Tensor]:
        """For each parameter (O, N, …), from activations (N, …) and cotangents (O, N, …)."""
        if not self.parameters:
            return {}
        known: dict[Operand, Tensor] = dict(zip(self.outer, parameters, strict=True))

        one_by_one = cotangents[0].device.type == "cpu" and max(known[value].numel() for value in self.inner) > AT_ONCE

        def of_example(held: Sequence[Tensor], g: Sequence[Tensor]) -> Any:
            env = {**known, **dict(zip(self.held, held, strict=True))}
            backward = vjp(lambda *inner: self._run(env, inner), *(known[value] for value in self.inner))[1]
            return _stacked([backward(each) for each in zip(*g, strict=True)], 0) if one_by_one else vmap(backward)(
                tuple(g)
            )

        if one_by_one:
            rows = [of_example([a[i] for a in held], [g[:, i] for g in cotangents]) for i in range(len(held[0]))]
            each = _stacked(rows, 1)
        else:
            each = vmap(of_example, in_dims=(0, 1), out_dims=1)([*held], [*cotangents])
        return dict(zip(self.parameters, each, strict=True))

    def _run(self, env: Mapping[Operand, Tensor], inner: Sequence[Tensor]) -> tuple[Tensor, ...]:
        inside: dict[Operand, Tensor] = {**env, **dict(zip(self.inner, inner, strict=True))}

        def read(operand: Operand) -> Tensor:
            return operand.value if isinstance(operand, Constant) else inside[operand]

        for step in self.before:
            inside.update(zip(step.outputs, step(read), strict=True))
        return tuple(step(read)[0] for step in self.steps)


def _stacked(rows: Sequence[Sequence[Tensor]], axis: int) -> list[Tensor]:
    return [torch.stack(some, axis) for some in zip(*rows, strict=True)]


def _is_held(operand: Operand) -> bool:
    return isinstance(operand, Value) and operand.on_example


def _meets(step: Step, i: int) -> bool:
    """Whether a function of this and of other parameters meets an example there."""
    return any(v.on_example for v in step.outputs) and any(
        isinstance(v, Value) and not v.on_example and i in v.parameters for v in step.inputs
    )


def _is_eligible(program: Program, i: int) -> bool:
    """Each meeting has one result with a derivative, and no example of the batch needs operations of its own."""
    reading = [step for step in program.steps if any(i in v.parameters for v in step.inputs if isinstance(v, Value))]
    alone = [step for step in reading if not step.outputs[0].on_example]
    meetings = [step for step in program.steps if _meets(step, i)]
    one_result = all(sum(is_differentiable(v.dtype) for v in step.outputs) == 1 == len(step.outputs)
                     for step in meetings)
    itself = isinstance(program.output, Value) and not program.output.on_example
    return bool(meetings) and one_result and not itself and all(
        step.name not in NOT_BATCHED for step in (*alone, *meetings)
    )
