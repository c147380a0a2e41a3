"""A network as a flat list of ATen operations for one example, with what each value depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from impls.frameworks.torch.internals import OpOverload, changes_arguments, has_numbers


class Untraceable(Exception):
    """Why the function cannot be written down as a list of operations."""


@dataclass(frozen=True, eq=False)
class Value:
    """What an operation computes for one example. `parameters`: indices of those it depends on, as differentiation
    sees it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    parameters: frozenset[int] = frozenset()
    on_example: bool = False

    @property
    def only_parameters(self) -> bool:
        return bool(self.parameters) and not self.on_example


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that was there before: a buffer, a frozen parameter, a mask."""

    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype


Operand = Value | Constant


@dataclass(frozen=True, eq=False)
class Step:
    """One operation. Its arguments hold operands where the tensors were."""

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Value, ...]

    @cached_property
    def name(self) -> str:
        """As in ``mm`` or ``add``, without the overload."""
        return self.op.name().removeprefix("aten::").split(".")[0]

    @cached_property
    def inputs(self) -> tuple[Operand, ...]:
        return tuple(operands((self.args, tuple(self.kwargs.values()))))

    @cached_property
    def _places(self) -> tuple[int, ...] | None:
        """Where its operands are among its arguments, None where some lie deeper."""
        places = tuple(i for i, arg in enumerate(self.args) if isinstance(arg, (Value, Constant)))
        return places if len(places) == len(self.inputs) and not self.kwargs else None

    def __call__(self, read: Callable[[Operand], Tensor]) -> tuple[Any, ...]:
        if self._places is not None:  # the same as below, in less time
            args = list(self.args)
            for place in self._places:
                args[place] = read(args[place])
            answer = self.op(*args)
            return (answer,) if isinstance(answer, Tensor) else tuple(answer)
        answer = self.op(*replaced(self.args, read), **{name: replaced(arg, read) for name, arg in self.kwargs.items()})
        return (answer,) if isinstance(answer, Tensor) else tuple(answer)


@dataclass(frozen=True, eq=False)
class Program:
    """The network: parameters and one example (without a batch axis) in, the O outputs of that example out."""

    parameters: tuple[Value, ...]
    example: Value
    steps: tuple[Step, ...]
    output: Operand

    @property
    def n_outputs(self) -> int:
        return self.output.shape[0]

    @cached_property
    def freed(self) -> tuple[tuple[Value, ...], ...]:
        """For each step the values that nothing reads after it: a long network's activations do not all stay alive."""
        return freed_after(self.steps, {self.output})


Read = Callable[[Operand], Tensor]
Run = Callable[[Step, Read], tuple[Any, ...]]


def operands(args: Any) -> Iterator[Operand]:
    """The operands in nested arguments, in order."""
    if isinstance(args, (Value, Constant)):
        yield args
    elif isinstance(args, (tuple, list)) and not _is_size(args):
        for arg in args:
            yield from operands(arg)


def replaced(args: Any, read: Callable[[Any], Any]) -> Any:
    """Nested arguments with `read` applied to each operand or tensor."""
    if isinstance(args, (Value, Constant, Tensor)):
        return read(args)
    if isinstance(args, (tuple, list)) and not _is_size(args):
        return type(args)([replaced(arg, read) for arg in args])
    return args


def _is_size(args: Sequence[Any]) -> bool:
    """Most of the arguments that are lists are, and hold no operand. Not all that begin with a number: 2 ** x does."""
    return all(isinstance(arg, int) for arg in args)


def check_known(steps: Sequence[Step], output: Operand) -> None:
    """Raise `Untraceable` unless all that the steps read is a value of theirs or a tensor with numbers: what tracing
    leaves behind of its own would be read as numbers when the program runs."""
    for step in steps:
        for leaf in _leaves((step.args, step.kwargs)):
            _check_leaf(leaf, str(step.op))
    _check_leaf(output, "the output")


def _check_leaf(leaf: Any, where: str) -> None:
    if isinstance(leaf, Tensor) or (isinstance(leaf, Constant) and not has_numbers(leaf.tensor)):
        raise Untraceable(f"a tensor without numbers is left in {where}")


def _leaves(args: Any) -> Iterator[Any]:
    if isinstance(args, Mapping):
        args = tuple(args.values())
    if not isinstance(args, (tuple, list)):
        yield args
        return
    for arg in args:
        yield from _leaves(arg)


def is_differentiable(dtype: torch.dtype) -> bool:
    """Whether gradients pass through its numbers."""
    return dtype.is_floating_point or dtype.is_complex


def evaluate(program: Program, parameters: Sequence[Tensor], example: Tensor, run: Run) -> Tensor:
    """Run the program, each step through `run(step, read)`."""
    env: dict[Value, Tensor] = {**dict(zip(program.parameters, parameters, strict=True)), program.example: example}

    def read(operand: Operand) -> Tensor:
        return operand.tensor if isinstance(operand, Constant) else env[operand]

    for step, values in zip(program.steps, program.freed, strict=True):
        env.update(zip(step.outputs, run(step, read), strict=True))
        for value in values:
            del env[value]
    return read(program.output)


def alive(steps: Sequence[Step], outputs: Iterable[Operand]) -> tuple[Step, ...]:
    """The steps that the outputs depend on, and those that write to what they are given, in order."""
    needed: set[Operand] = {*outputs}
    kept: list[Step] = []
    for step in reversed(steps):
        if changes_arguments(step.op) or not needed.isdisjoint(step.outputs):
            needed.update(step.inputs)
            kept.append(step)
    return tuple(reversed(kept))


def freed_after(steps: Sequence[Step], lasting: set[Operand]) -> tuple[tuple[Value, ...], ...]:
    """For each step the values that nothing reads after it, but for the lasting ones."""
    last = {
        value: i
        for i, step in enumerate(steps)
        for value in (*step.inputs, *step.outputs)
        if isinstance(value, Value) and value not in lasting
    }
    freed: list[list[Value]] = [[] for _ in steps]
    for value, i in last.items():
        freed[i].append(value)
    return tuple(tuple(values) for values in freed)
