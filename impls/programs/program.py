"""A network as a flat list of operations for one example, with what each value depends on; free of any framework.

`Value`, `Constant` and `Program` are those of both halves. An operation is a half's own `Step`, which holds primitive
or operator and their arguments in its framework's way; what the analysis asks of one stands here as a protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np


@dataclass(frozen=True, eq=False)
class Value:
    """What an operation computes for one example. `parameters`: indices of those it depends on; for PyTorch as
    differentiation sees it."""

    shape: tuple[int, ...]
    dtype: Any
    parameters: frozenset[int] = frozenset()
    on_example: bool = False

    @property
    def only_parameters(self) -> bool:
        return bool(self.parameters) and not self.on_example


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that was there before, or a number: a buffer, a frozen parameter, a mask."""

    value: Any
    parameters: ClassVar[frozenset[int]] = frozenset()
    on_example: ClassVar[bool] = False
    only_parameters: ClassVar[bool] = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(np.shape(self.value))

    @property
    def dtype(self) -> Any:
        """Of an array."""
        return self.value.dtype


Operand = Value | Constant
Read = Callable[[Operand], Any]


class Step(Protocol):
    """One operation. Called with what gives each operand's array it gives its results."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> Sequence[Operand]: ...

    @property
    def outputs(self) -> tuple[Value, ...]: ...

    @property
    def writes(self) -> bool:
        """Whether it writes to what it is given."""
        ...

    @property
    def key(self) -> Hashable:
        """Equal for steps that do the same, whatever their operands are; of one that rearranges."""
        ...

    @property
    def permutation(self) -> tuple[int, ...] | None:
        """Of the axes, where that is all it does."""
        ...

    def rearranged(self, array: np.ndarray) -> np.ndarray:
        """What it makes of whole numbers; of one that rearranges its first operand."""
        ...

    def __call__(self, read: Read, /) -> Sequence[Any]: ...


S = TypeVar("S", bound=Step)


@dataclass(frozen=True, eq=False)
class Program(Generic[S]):
    """The network: parameters and one example (without a batch axis) in, the O outputs of that example out.

    `unknown`: what it holds beside them that has no value while JAX traces a program around this one; as good as a part
    of the example.
    """

    parameters: tuple[Value, ...]
    example: Value
    steps: tuple[S, ...]
    output: Operand
    unknown: Mapping[Value, Any] = field(default_factory=dict)

    @property
    def n_outputs(self) -> int:
        return self.output.shape[0]

    @property
    def example_bytes(self) -> int:
        """Roughly what one example needs in both passes: its activations, and as many cotangents for each output."""
        values = [value for step in self.steps for value in step.outputs if value.on_example]
        return (1 + self.n_outputs) * sum(int(np.prod(value.shape)) * value.dtype.itemsize for value in values)

    @cached_property
    def freed(self) -> tuple[tuple[Value, ...], ...]:
        """For each step the values that nothing reads after it: a long network's activations do not all stay alive."""
        return freed_after(self.steps, {self.output})


Opened = tuple[Sequence[Any], Operand, Mapping[Operand, Value]]
"""The steps and the output of a program, its calls replaced by what they do; for the values in them the program's."""


def evaluate(program: Program[S], parameters: Sequence[Any], example: Any,
             run: Callable[[S, Read], Sequence[Any]]) -> Any:
    """Run the program, each step through `run(step, read)`."""
    env: dict[Operand, Any] = {**program.unknown, **dict(zip(program.parameters, parameters, strict=True)),
                               program.example: example}

    def read(operand: Operand) -> Any:
        return operand.value if isinstance(operand, Constant) else env[operand]

    for step, values in zip(program.steps, program.freed, strict=True):
        env.update(zip(step.outputs, run(step, read), strict=True))
        for value in values:
            del env[value]
    return read(program.output)


def alive(steps: Sequence[S], outputs: Iterable[Operand]) -> tuple[S, ...]:
    """The steps that the outputs depend on, and those that write to what they are given, in order."""
    needed: set[Operand] = {*outputs}
    kept: list[S] = []
    for step in reversed(steps):
        if step.writes or not needed.isdisjoint(step.outputs):
            needed.update(step.inputs)
            kept.append(step)
    return tuple(reversed(kept))


def freed_after(steps: Sequence[Step], lasting: set[Operand]) -> tuple[tuple[Value, ...], ...]:
    """For each step the values that nothing reads after it, but for the lasting ones."""
    last = {value: i for i, step in enumerate(steps) for value in (*step.inputs, *step.outputs)
            if isinstance(value, Value) and value not in lasting}
    freed: list[list[Value]] = [[] for _ in steps]
    for value, i in last.items():
        freed[i].append(value)
    return tuple(tuple(values) for values in freed)
