"""What a function does to tensors below autograd and `vmap`, written down while it happens, and made shorter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from impls.frameworks.torch.internals import OpOverload, Watching, WeakTensorKeyDictionary, memory, written
from impls.programs.program import Constant, Operand, Value, alive
from impls.programs.torch.program import Step, replaced

aten = torch.ops.aten

MOST_OPERATIONS = 10_000
"""More are not worth a Python function, which takes longer to make than it saves."""

VIEWS = frozenset({
    aten._unsafe_view.default, aten.alias.default, aten.detach.default, aten.diagonal.default, aten.expand.default,
    aten.permute.default, aten.select.int, aten.slice.Tensor, aten.squeeze.dim, aten.squeeze.dims, aten.t.default,
    aten.transpose.int, aten.unsqueeze.default, aten.view.default,
})  # fmt: skip
"""The same numbers in the same memory. There are many, one on another, and each takes as long as a small product."""

DEPENDING = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})

COPIES = frozenset({aten._to_copy.default, aten.copy_.default, aten.where.self})
"""What copies an operand that is on another device; other operations take a single number from there as it is."""

SOLVERS = re.compile(r"aten::(_?linalg_(?!vector_norm|cross|_powsum)|_?cholesky|_?lu_|geqrf|ormqr|triangular_solve)")
"""Matrices that are solved with, inverted or factored: on CUDA most wait for the GPU, to see whether it succeeded."""


@dataclass(frozen=True)
class Layout:
    """How a tensor lies in memory. Of two that lie in one `place` one after the other, both count as written to where
    one is."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device
    place: int


class Recorder(Watching):
    """Writes the operations down. Holds none of the results. `refused`: why they cannot be repeated."""

    def __init__(self, inputs: Sequence[Tensor], constants: Iterable[Tensor]) -> None:
        super().__init__()
        self.operands = WeakTensorKeyDictionary()
        self.layouts: dict[Operand, Layout] = {}
        self.steps: list[Step] = []
        self.kept: set[int] = set()
        """Places of constants."""
        self.written: set[int] = set()
        """Places."""
        self.reshaped: set[Operand] = set()
        """In place, as by ``resize_``."""
        self.refused: str | None = None
        for constant in constants:
            self._keep(constant)
        self.inputs = [self._enter(tensor, _value(tensor)) for tensor in inputs]

    def __torch_dispatch__(self, op: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if op is aten.lift_fresh.default:  # numbers that stand in the code
            return self._keep(op(*args))
        if self.refused is not None or op.namespace == "prim":  # as in asking for a tensor's device
            return op(*args, **kwargs)
        some, named = replaced(tuple(args), self.operand), {n: replaced(a, self.operand) for n, a in kwargs.items()}
        outs = op(*args, **kwargs)
        left = () if outs is None else tuple(outs) if isinstance(outs, (tuple, list)) else (outs,)
        changed = [*written(op, args, kwargs)]
        reshapes = torch.Tag.inplace_view in op.tags
        if not reshapes:
            self.written.update(map(memory, changed))
        if not {*types, *map(type, left)} <= {Tensor, nn.Parameter, type(None)}:
            self.refused = f"{op} is about something else than tensors"
        elif not self.kept.isdisjoint(map(memory, changed)):
            self.refused = f"{op} writes to a tensor that is kept"
        elif len(self.steps) == MOST_OPERATIONS:
            self.refused = f"it comes to more than {MOST_OPERATIONS} operations"
        else:
            self.steps.append(Step(op, some, named, tuple(map(self._leave, left))))
            if reshapes:
                self.reshaped.update(map(self.operand, changed))
        return outs

    def operand(self, tensor: Tensor) -> Operand:
        """What a tensor that something reads stands for."""
        if tensor not in self.operands:
            self.refused = self.refused or f"a tensor of shape {tuple(tensor.shape)} comes from elsewhere"
            return Constant(tensor)
        return self.operands[tensor]

    def _keep(self, constant: Tensor) -> Tensor:
        self._enter(constant, Constant(constant))
        self.kept.add(memory(constant))
        return constant

    def _enter(self, tensor: Tensor, operand: Operand) -> Any:
        self.operands[tensor] = operand
        self.layouts[operand] = Layout(
            tuple(tensor.shape),
            tensor.stride(),
            int(tensor.storage_offset()),
            tensor.dtype,
            tensor.device,
            memory(tensor),
        )
        return operand

    def _leave(self, out: Tensor | None) -> Value:
        """What an operation gives: something new, or what it was given and has written to."""
        if out is None:
            return Value((), torch.float32)  # of no layout
        return self.operands[out] if out in self.operands else self._enter(out, _value(out))


def waits(recorder: Recorder, steps: Iterable[Step]) -> str | None:
    """Why these steps cannot all be launched on a GPU before the first of them is done, or None."""
    for step in steps:
        inputs = [recorder.layouts[operand] for operand in step.inputs]
        outputs = [recorder.layouts[value] for value in step.outputs if value in recorder.layouts]
        masked = step.op is not aten.index.Tensor or any(each.dtype is torch.bool for each in inputs[1:])
        if masked and not DEPENDING.isdisjoint(step.op.tags):
            return f"what {step.op} gives depends on numbers"
        if SOLVERS.match(step.op.name()):
            return f"whether {step.op} succeeds is looked at outside the GPU"
        if step.op in COPIES and len({each.device for each in (*inputs, *outputs)}) > 1:
            return f"{step.op} copies from one device to another"
    return None


def _value(tensor: Tensor) -> Value:
    return Value(tuple(tensor.shape), tensor.dtype)


@dataclass(frozen=True)
class Short:
    """The steps that the outputs need, or that write to what they are given, and the outputs themselves. `relied_on`:
    what has to lie in memory as it did for the steps to be right."""

    steps: Sequence[Step]
    outputs: Sequence[Operand]
    relied_on: dict[Operand, Layout]


def shortened(recorder: Recorder, outputs: Iterable[Operand]) -> Short:
    """What was written down, without zeros that are added, as taps are, and with views taken of the memory itself, each
    of them once, not of other views."""
    same: dict[Operand, Operand] = {}
    steps: list[Step] = []
    zeros: set[Operand] = set()
    views = _Views(recorder)
    relied_on = views.bases

    def read(operand: Operand) -> Operand:
        return same.get(operand, operand)

    for step in recorder.steps:
        kwargs = {name: replaced(arg, read) for name, arg in step.kwargs.items()}
        now = Step(step.op, replaced(step.args, read), kwargs, step.outputs)
        if now.op is aten.zeros.default or (now.op in VIEWS and now.inputs[0] in zeros):
            zeros.add(now.outputs[0])
        if now.op in VIEWS:
            found = views(now)
            if isinstance(found, Step):
                steps.append(found)
            else:
                same[now.outputs[0]] = found
        elif now.op is aten.add.Tensor and _adds_zeros(recorder, now, zeros):
            same[now.outputs[0]] = now.inputs[0]
        else:
            steps.append(now)
            if torch.Tag.dynamic_output_shape in now.op.tags:  # as of an index, which may be a mask
                relied_on |= {out: recorder.layouts[out] for out in now.outputs}
    outputs = [read(operand) for operand in outputs]
    return Short(alive(steps, outputs), outputs, relied_on)


def _adds_zeros(recorder: Recorder, step: Step, zeros: set[Operand]) -> bool:
    if len(step.inputs) < 2 or step.inputs[1] not in zeros:
        return False
    layouts = [recorder.layouts[operand] for operand in (step.outputs[0], *step.inputs)]
    out, term, _ = layouts
    return recorder.written.isdisjoint(layout.place for layout in layouts) and (
        (out.shape, out.strides, out.dtype) == (term.shape, term.strides, term.dtype)
    )


class _Views:
    """Of one view after the other: what it is the same as, or how it is taken of the memory itself."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.moving = {recorder.layouts[value].place for value in recorder.inputs} | recorder.kept
        """Places where a tensor may start elsewhere in the next call."""
        self.of: dict[Operand, Operand] = {}
        self.known: dict[tuple[Operand, Layout], Operand] = {}
        self.bases: dict[Operand, Layout] = {}
        """What the views are of."""

    def __call__(self, step: Step) -> Step | Operand:
        (out,), source = step.outputs, step.inputs[0]
        base = self.of.get(source, source)
        layout, before = (self.recorder.layouts[operand] for operand in (out, base))
        moved = layout.offset != before.offset
        if not self.recorder.reshaped.isdisjoint((out, source, base)) or (moved and before.place in self.moving):
            return step
        self.bases[base] = before
        found = base if layout == before else self.known.setdefault((base, layout), out)
        if found is not out:
            return found
        self.of[out] = base
        start = (layout.offset,) if moved else ()
        return Step(aten.as_strided.default, (base, layout.shape, layout.strides, *start), {}, (out,))
