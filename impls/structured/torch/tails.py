"""Where a product's cotangent is separable: g[o, n, s, t, j] = c[o, s, j] · d[n, s, t, j].

So it is where y goes through operations on single numbers (an activation function, a normalisation by known
statistics, a sum with what is no function of y) and from then on, up to the outputs, only through linear operations
whose coefficients no example has a part in, and which treat all positions alike: a mean over all of them, say, and a
dense layer. Then d is the derivative of the first part and c that of the second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from impls.structured.tails import all_lead_to, behind, linear_and_near, readers_of
from impls.structured.torch.products import Use
from impls.structured.torch.program import Constant, Operand, Program, Step, Value
from impls.structured.torch.views import scalar_factor

TAKING = ("reshape", "permute", "squeeze", "unsqueeze", "flip", "roll", "slice", "select", "expand", "diagonal")

LINEAR = frozenset((
    *TAKING, "repeat", "unfold", "unbind", "split_with_sizes",
    "constant_pad_nd", "sum", "mean", "cumsum", "neg", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
))  # fmt: skip
"""In their only tensor."""

ADDING = ("add", "sub", "cat")
"""Linear in each operand, whatever the others are."""

BILINEAR = ("mul", "mm", "bmm")


@dataclass(frozen=True, eq=False)
class Tail:
    """`end`: where the linear operations begin. `order`: the place in it of each number of y, None where it is the
    same."""

    end: Value
    order: Tensor | None


class Tails:
    """Finds the tails of a program's products."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.readers = readers_of(program.steps, Value, _differentiated)
        self.linear, self.near = linear_and_near(
            program.steps, program.output, self.readers, _is_linear, _number_by_number
        )

    def find(self, use: Use) -> Tail | None:
        """What lies behind this product; None where its cotangent is not known to be separable."""
        if use.y not in self.near or not use.covers_y:
            return None
        reached = self._reached(use.y)
        order = list(reached)
        for end in reversed([value for value in order if value in self.linear]):
            if all_lead_to(end, order, self.readers):
                entries = reached[end].flatten()
                if not self._alike(end, _labels(use)[reached[end]]):
                    return None
                same = bool((entries == torch.arange(entries.numel())).all())
                return Tail(end, None if same else entries.argsort())
        return None

    def _reached(self, y: Value) -> dict[Value, Tensor]:
        """In order, the values each of whose numbers is a function of one number of y; and which one."""
        reached = {y: torch.arange(math.prod(y.shape)).reshape(y.shape)}
        after = next(i for i, step in enumerate(self.program.steps) if y in step.outputs)
        for step in self.program.steps[after + 1 :]:
            entries = [reached[operand] for operand in step.inputs if isinstance(operand, Value) and operand in reached]
            if not entries or not _number_by_number(step) or step.outputs[0].dtype != y.dtype:
                continue
            if _reorders(step):
                (reached[step.outputs[0]],) = step(lambda _, entries=entries: entries[0])
            elif all(e.shape == step.outputs[0].shape and torch.equal(e, entries[0]) for e in entries):
                reached[step.outputs[0]] = entries[0]
        return reached

    def _alike(self, value: Value, labels: Tensor) -> bool:
        """Whether all its numbers with the same label have the same cotangent."""
        if labels.unique().numel() == labels.numel():
            return True
        readers = self.readers[value]
        return value is not self.program.output and all(self._treats_alike(step, labels) for step in readers)

    def _treats_alike(self, step: Step, labels: Tensor) -> bool:
        y = step.outputs[0]
        if _reorders(step):
            return self._alike(y, step(lambda _: labels)[0])
        if labels.shape == y.shape and (step.name in ("add", "sub") or scalar_factor(step) is not None):
            return self._alike(y, labels)
        axes = _summed_axes(step)
        if axes is None:
            return False
        kept = [axis for axis in range(labels.ndim) if axis not in axes]
        rows = labels.permute(*kept, *axes).reshape(math.prod(labels.shape[axis] for axis in kept), -1)
        if _each_in_one_row(rows):
            return True
        return bool((rows == rows[:, :1]).all()) and self._alike(y, rows[:, 0].reshape(y.shape))


class Linear:
    """The operations from `end` to the outputs, which are linear with coefficients of the parameters alone."""

    def __init__(self, program: Program, end: Value) -> None:
        self.program, self.end = program, end
        self.steps = behind(program, end)

    def cotangents(self, parameters: Sequence[Tensor]) -> Tensor:
        """Of `end`, the same for all examples: (O, …)."""
        n_outputs = self.program.n_outputs
        where = parameters[0].device
        zero = torch.zeros(n_outputs, *self.end.shape, dtype=self.end.dtype, device=where, requires_grad=True)
        with torch.enable_grad():
            outputs = vmap(lambda end: self._run(parameters, end))(zero)
        each = torch.eye(n_outputs, dtype=outputs.dtype, device=where)
        return torch.autograd.grad(outputs, zero, each)[0]

    def _run(self, parameters: Sequence[Tensor], end: Tensor) -> Tensor:
        env: dict[Value, Tensor] = {**dict(zip(self.program.parameters, parameters, strict=True)), self.end: end}

        def read(operand: Operand) -> Tensor:
            if isinstance(operand, Constant):
                return operand.tensor
            # what depends on the example and not on `end` is only ever added
            return env[operand] if operand in env else end.new_zeros(operand.shape, dtype=operand.dtype)

        for step in self.steps:
            env.update(zip(step.outputs, step(read), strict=True))
        return read(self.program.output)


def _differentiated(step: Step) -> bool:
    """Whether gradients flow through it."""
    return any(value.parameters for value in step.outputs)


def _number_by_number(step: Step) -> bool:
    """Whether each number that it gives is a function of one number of each tensor that it reads."""
    if len(step.outputs) != 1:
        return False
    return torch.Tag.pointwise in step.op.tags or _reorders(step)


def _reorders(step: Step) -> bool:
    """Whether each number stays one number."""
    if step.name not in TAKING or len(step.inputs) != 1:
        return False
    return math.prod(step.inputs[0].shape) == math.prod(step.outputs[0].shape)


def _is_linear(step: Step, value: Value) -> bool:
    """In this operand, with coefficients that no example has a part in."""
    if any(y.dtype != value.dtype for y in step.outputs):
        return False
    if step.name in ADDING:
        return True
    if step.name in LINEAR:
        return len(step.inputs) == 1
    places = [i for i, operand in enumerate(step.inputs) if operand is value]
    others = [operand for operand in step.inputs if operand is not value]
    if len(places) > 1 or any(isinstance(operand, Value) and operand.on_example for operand in others):
        return False
    return step.name in BILINEAR or (step.name in ("div", "convolution") and step.args[0] is value)


def _labels(use: Use) -> Tensor:
    """For each number of y its (s, j), one number for both."""
    S, T, _, J = use.sizes
    places = use.arrange(torch.arange(S * T * J).reshape(use.y.shape))
    labels = torch.arange(S * J).view(S, 1, J).expand(S, T, J)
    return torch.empty(S * T * J, dtype=torch.long).scatter_(0, places.flatten(), labels.flatten())


def _summed_axes(step: Step) -> list[int] | None:
    """The axes that it sums or averages over, none of them in part."""
    (operand, *_) = step.inputs
    n = len(operand.shape)
    if step.name in ("sum", "mean"):
        axes = step.args[1] if len(step.args) > 1 else None
        return [axis % n for axis in axes] if axes else list(range(n))
    if step.name in ("avg_pool2d", "avg_pool3d"):
        k = int(step.name[-2])
        window, padding = (list(step.args[1]), step.args[3] if len(step.args) > 3 else [0])
        whole = [*operand.shape[-k:]] == (window * k if len(window) == 1 else window)
        return list(range(n - k, n)) if whole and not any(padding) else None
    return None


def _each_in_one_row(rows: Tensor) -> bool:
    """Whether all numbers with the same label are in the same row."""
    n, where = int(rows.max()) + 1, torch.arange(len(rows))[:, None].expand_as(rows).flatten()
    first, last = (
        torch.zeros(n, dtype=torch.long).scatter_reduce(0, rows.flatten(), where, way, include_self=False)
        for way in ("amin", "amax")
    )
    return torch.equal(first, last)
