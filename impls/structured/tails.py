"""What lies between a product and the outputs, as a graph of steps; free of any framework.

A step has `inputs` and `outputs`; `readers` holds for each value the steps that read it and that gradients flow
through. What a step does to numbers only a framework's own module knows, and passes as functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Readers = Mapping[Any, Sequence[Any]]


def readers_of(steps: Sequence[Any], value_type: type, differentiated: Callable[[Any], bool]) -> Readers:
    """For each value the steps that read it, once each, of those that gradients flow through."""
    readers: dict[Any, list[Any]] = defaultdict(list)
    for step in filter(differentiated, steps):
        for value in {operand for operand in step.inputs if isinstance(operand, value_type)}:
            readers[value].append(step)
    return readers


def linear_and_near(steps: Sequence[Any], output: Any, readers: Readers, is_linear: Callable[[Any, Any], bool],
                    number_by_number: Callable[[Any], bool]) -> tuple[set[Any], set[Any]]:
    """The values whose cotangents are the same for all examples; and with them those that lead there by operations on
    single numbers alone."""
    linear: set[Any] = set()
    near: set[Any] = set()

    def matter_and_are(step: Any) -> bool:
        return all(value in linear for value in step.outputs if value is output or readers[value])

    for step in reversed(steps):
        for value in step.outputs:
            reading = readers[value]
            if value is output or (reading and all(is_linear(r, value) and matter_and_are(r) for r in reading)):
                linear.add(value)
            if value in linear or (reading and all(number_by_number(r) and r.outputs[0] in near for r in reading)):
                near.add(value)
    return linear, near


def all_lead_to(end: Any, order: Sequence[Any], readers: Readers) -> bool:
    """Whether whatever the first of `order` has a part in reaches the outputs through `end`, by the operations on
    single numbers that gave the values of `order`."""
    leading = {end}
    for value in reversed(order[:order.index(end)]):
        if all(step.outputs[0] in leading for step in readers[value]):
            leading.add(value)
    return order[0] in leading


def behind(program: Any, end: Any) -> list[Any]:
    """The steps from `end` to the outputs, and those of the parameters alone that these need."""
    after = {end}
    for step in program.steps:
        if not after.isdisjoint(step.inputs):
            after.update(step.outputs)
    needed = {program.output}
    steps: list[Any] = []
    for step in reversed(program.steps):
        known = not any(value.on_example for value in step.outputs)
        if not needed.isdisjoint(step.outputs) and (known or not after.isdisjoint(step.inputs)):
            needed.update(step.inputs)
            steps.append(step)
    return steps[::-1]
