"""Parts of one activation that are taken one by one, taken by one operation instead.

Backwards, each part of its own becomes an array of zeros of the whole's size, and the arrays are added; an operation
that takes all parts lays their cotangents side by side (seen: a seventh of a transformer's time, for the queries, keys
and values of its attention).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from impls.programs.program import Value
from impls.programs.torch.program import Step

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Part:
    """What a step takes of `whole`: from `start` to `stop` along `axis`."""

    step: Step
    whole: Value
    axis: int
    start: int
    stop: int


def parted(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same steps, but disjoint parts of a value along one axis are taken at once, where the first of them was."""
    together: dict[object, list[Part]] = defaultdict(list)
    for step in steps:
        part = _part(step)
        if part is not None:
            together[part.whole, part.axis, step.name].append(part)
    instead: dict[Step, Step | None] = {}
    for parts in together.values():
        ordered = sorted(parts, key=lambda part: part.start)
        if len(parts) > 1 and all(left.stop <= right.start for left, right in pairwise(ordered)):
            instead |= {part.step: None for part in parts}
            instead[parts[0].step] = (_unbind if parts[0].step.name == "select" else _split)(ordered)
    kept = (instead.get(step, step) for step in steps)
    return tuple(step for step in kept if step is not None)


def _part(step: Step) -> Part | None:
    """Of a value that gradients flow through."""
    if step.name not in ("select", "slice") or len(step.inputs) != 1 or step.kwargs:
        return None
    whole, axis, *bounds = step.args
    if not (isinstance(whole, Value) and whole.on_example and whole.parameters):
        return None
    axis %= len(whole.shape)
    n = whole.shape[axis]
    if step.name == "select":
        return Part(step, whole, axis, bounds[0] % n, bounds[0] % n + 1)
    start, stop, stride = slice(*bounds).indices(n)
    return Part(step, whole, axis, start, stop) if stride == 1 and start < stop else None


def _unbind(parts: Sequence[Part]) -> Step:
    whole, axis = parts[0].whole, parts[0].axis
    shape = (*whole.shape[:axis], *whole.shape[axis + 1 :])
    taken = {part.start: part.step.outputs[0] for part in parts}
    outputs = tuple(taken[i] if i in taken else _like(whole, shape) for i in range(whole.shape[axis]))
    return Step(aten.unbind.int, (whole, axis), {}, outputs)


def _split(parts: Sequence[Part]) -> Step:
    """With what lies between the parts as parts that nobody reads."""
    whole, axis, at = parts[0].whole, parts[0].axis, 0
    outputs: list[Value] = []
    for start, stop, value in [*((p.start, p.stop, p.step.outputs[0]) for p in parts), (whole.shape[axis], 0, None)]:
        if start > at:
            outputs.append(_like(whole, (*whole.shape[:axis], start - at, *whole.shape[axis + 1 :])))
        if value is not None:
            outputs.append(value)
        at = stop
    sizes = [value.shape[axis] for value in outputs]
    return Step(aten.split_with_sizes.default, (whole, sizes, axis), {}, tuple(outputs))


def _like(whole: Value, shape: tuple[int, ...]) -> Value:
    return Value(shape, whole.dtype, whole.parameters, whole.on_example)
