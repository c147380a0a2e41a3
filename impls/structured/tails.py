"""Where a product's cotangent is separable: g[o, n, s, t, j] = c[o, s, j] · d[n, s, t, j].

So it is where y goes through operations on single numbers (an activation function, a normalisation by known
statistics, a sum with what is no function of y) and from then on, up to the outputs, only through linear operations
whose coefficients no example has a part in, and which treat all positions alike: a mean over all of them, say, and a
dense layer. Then d is the derivative of the first part and c that of the second. Free of any framework.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impls.programs.program import Constant, Operand, Program, Step, Value
from impls.structured.rules import RuleBook, reorders
from impls.structured.uses import Use
from impls.structured.views import scalar_factor


@dataclass(frozen=True, eq=False)
class Tail:
    """`end`: where the linear operations begin. `order`: the place in it of each number of y, None where it is the
    same."""

    end: Value
    order: np.ndarray | None


class Tails:
    """Finds the tails of a program's products."""

    def __init__(self, program: Program[Any], book: RuleBook) -> None:
        self.book = book
        self.steps, self.output, self.shown = book.opened(program)
        self.readers: Mapping[Value, Sequence[Step]] = self._readers()
        self.linear, self.near = self._linear_and_near()

    def find(self, use: Use) -> Tail | None:
        """What lies behind this product; None where its cotangent is not known to be separable."""
        if use.y not in self.near or not use.covers_y:
            return None
        reached = self._reached(use.y)
        order = list(reached)
        for end in reversed([value for value in order if value in self.linear and value in self.shown]):
            if self._all_lead_to(end, order):
                entries = reached[end].ravel()
                if not self._alike(end, self._labels(use)[reached[end]]):
                    return None
                same = bool((entries == np.arange(entries.size)).all())
                return Tail(self.shown[end], None if same else entries.argsort())
        return None

    def _readers(self) -> Mapping[Value, Sequence[Step]]:
        """For each value the steps that read it, once each, of those that gradients flow through."""
        readers: dict[Value, list[Step]] = defaultdict(list)
        for step in self.steps:
            if any(value.parameters and self.book.is_differentiable(value.dtype) for value in step.outputs):
                for value in {operand for operand in step.inputs if isinstance(operand, Value)}:
                    readers[value].append(step)
        return readers

    def _linear_and_near(self) -> tuple[set[Value], set[Value]]:
        """The values whose cotangents are the same for all examples; and with them those that lead there by operations
        on single numbers alone."""
        linear: set[Value] = set()
        near: set[Value] = set()

        def matter_and_are(step: Step) -> bool:
            return all(value in linear for value in step.outputs if value is self.output or self.readers[value])

        for step in reversed(self.steps):
            for value in step.outputs:
                reading = self.readers[value]
                linear_to = reading and all(self._is_linear(r, value) and matter_and_are(r) for r in reading)
                if value is self.output or linear_to:
                    linear.add(value)
                near_to = reading and all(self._number_by_number(r) and r.outputs[0] in near for r in reading)
                if value in linear or near_to:
                    near.add(value)
        return linear, near

    def _is_linear(self, step: Step, value: Value) -> bool:
        """In this operand, with coefficients that no example has a part in."""
        book, name = self.book, step.name
        if any(y.dtype != value.dtype for y in step.outputs):
            return False
        if name in book.sums or name in book.joining:
            return True
        if name in book.taking or name in book.linear:
            return len(step.inputs) == 1
        places = [i for i, operand in enumerate(step.inputs) if operand is value]
        if len(places) > 1 or any(operand.on_example for operand in step.inputs if operand is not value):
            return False
        return name in book.bilinear or (name in book.linear_in_first and places == [0])

    def _number_by_number(self, step: Step) -> bool:
        """Whether each number that it gives is a function of one number of each array that it reads."""
        return len(step.outputs) == 1 and (self.book.number_by_number(step) or reorders(step, self.book))

    def _reached(self, y: Value) -> dict[Value, np.ndarray]:
        """In order, the values each of whose numbers is a function of one number of y; and which one."""
        reached = {y: np.arange(math.prod(y.shape), dtype=np.int32).reshape(y.shape)}
        after = next(i for i, step in enumerate(self.steps) if y in step.outputs)
        for step in self.steps[after + 1:]:
            entries = [reached[operand] for operand in step.inputs if isinstance(operand, Value) and operand in reached]
            if not entries or not self._number_by_number(step) or step.outputs[0].dtype != y.dtype:
                continue
            if reorders(step, self.book):
                reached[step.outputs[0]] = step.rearranged(entries[0])
            elif all(e.shape == step.outputs[0].shape and (e is entries[0] or (e == entries[0]).all())
                     for e in entries):
                reached[step.outputs[0]] = entries[0]
        return reached

    def _all_lead_to(self, end: Value, order: Sequence[Value]) -> bool:
        """Whether whatever the first of `order` has a part in reaches the outputs through `end`, by the operations on
        single numbers that gave the values of `order`."""
        leading = {end}
        for value in reversed(order[:order.index(end)]):
            if all(step.outputs[0] in leading for step in self.readers[value]):
                leading.add(value)
        return order[0] in leading

    def _labels(self, use: Use) -> np.ndarray:
        """For each number of y its (s, j), one number for both."""
        S, T, _, J = use.sizes
        places = self.book.arranged(use, np.arange(S * T * J, dtype=np.int32).reshape(use.y.shape))
        labels = np.empty(S * T * J, np.int32)
        labels[places.ravel()] = np.broadcast_to(np.arange(S * J, dtype=np.int32).reshape(S, 1, J), (S, T, J)).ravel()
        return labels

    def _alike(self, value: Value, labels: np.ndarray) -> bool:
        """Whether all its numbers with the same label have the same cotangent."""
        if np.bincount(labels.ravel()).max(initial=0) <= 1:
            return True
        readers = self.readers[value]
        return value is not self.output and all(self._treats_alike(step, value, labels) for step in readers)

    def _treats_alike(self, step: Step, value: Value, labels: np.ndarray) -> bool:
        y, book = step.outputs[0], self.book
        if reorders(step, book):
            return self._alike(y, step.rearranged(labels))
        if labels.shape == y.shape and (step.name in book.sums or step.name in book.casts
                                        or scalar_factor(step, step.inputs.index(value), book) is not None):
            return self._alike(y, labels)
        axes = book.summed_axes(step)
        if axes is None:
            return False
        kept = [axis for axis in range(labels.ndim) if axis not in axes]
        rows = labels.transpose(*kept, *axes).reshape(math.prod(labels.shape[axis] for axis in kept), -1)
        if _each_in_one_row(rows):
            return True
        return bool((rows == rows[:, :1]).all()) and self._alike(y, rows[:, 0].reshape(y.shape))


def _each_in_one_row(rows: np.ndarray) -> bool:
    """Whether all numbers with the same label are in the same row."""
    where = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
    last = np.zeros(int(rows.max()) + 1, np.int64)
    last[rows] = where
    return bool((last[rows] == where).all())


class Linear:
    """The operations from `end` to the outputs, which are linear with coefficients of the parameters alone."""

    def __init__(self, program: Program[Any], end: Value) -> None:
        self.program, self.end = program, end
        self.steps = _behind(program, end)

    def __call__(self, parameters: Sequence[Any], end: Any, zeros: Callable[[Value], Any]) -> Any:
        """The outputs, but for what `end` has no part in. `zeros`: of a value's shape and dtype."""
        env: dict[Operand, Any] = {**dict(zip(self.program.parameters, parameters, strict=True)), self.end: end}

        def read(operand: Operand) -> Any:
            if isinstance(operand, Constant):
                return operand.value
            # what depends on the example and not on `end` is only ever added
            return env[operand] if operand in env else zeros(operand)

        for step in self.steps:
            env.update(zip(step.outputs, step(read), strict=True))
        return read(self.program.output)


def _behind(program: Program[Any], end: Value) -> list[Step]:
    """The steps from `end` to the outputs, and those of the parameters alone that these need."""
    after: set[Operand] = {end}
    for step in program.steps:
        if not after.isdisjoint(step.inputs):
            after.update(step.outputs)
    needed: set[Operand] = {program.output}
    steps: list[Step] = []
    for step in reversed(program.steps):
        known = not any(value.on_example for value in step.outputs)
        if not needed.isdisjoint(step.outputs) and (known or not after.isdisjoint(step.inputs)):
            needed.update(step.inputs)
            steps.append(step)
    return steps[::-1]
