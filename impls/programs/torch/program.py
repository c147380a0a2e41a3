"""One ATen operation in a program, its nested arguments, and what a program may read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impls.frameworks.torch.internals import OpOverload, changes_arguments, has_numbers
from impls.programs import program
from impls.programs.program import Constant, Operand, Read, Value


class Untraceable(Exception):
    """Why the function cannot be written down as a list of operations."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operation; see `program.Step`. Its arguments hold operands where the tensors were."""

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Value, ...]

    @property
    def name(self) -> str:
        return self._name

    @cached_property
    def _name(self) -> str:
        """As in ``mm`` or ``add``, without the overload."""
        return self.op.name().removeprefix("aten::").split(".")[0]

    @property
    def inputs(self) -> tuple[Operand, ...]:
        return self._inputs

    @cached_property
    def _inputs(self) -> tuple[Operand, ...]:
        return tuple(operands((self.args, tuple(self.kwargs.values()))))

    @property
    def writes(self) -> bool:
        return changes_arguments(self.op)

    @property
    def key(self) -> Hashable:
        return self.name, repr(replaced(self.args, lambda _: None)), repr(self.kwargs)

    @property
    def permutation(self) -> tuple[int, ...] | None:
        return tuple(self.args[1]) if self.name == "permute" else None

    def rearranged(self, array: np.ndarray) -> np.ndarray:
        return self(lambda _: tensor_of(array))[0].numpy()

    @cached_property
    def _places(self) -> tuple[int, ...] | None:
        """Where its operands are among its arguments, None where some lie deeper."""
        places = tuple(i for i, arg in enumerate(self.args) if isinstance(arg, (Value, Constant)))
        return places if len(places) == len(self.inputs) and not self.kwargs else None

    def __call__(self, read: Read) -> tuple[Any, ...]:
        if self._places is not None:  # the same as below, in less time
            args = list(self.args)
            for place in self._places:
                args[place] = read(args[place])
            answer = self.op(*args)
            return (answer,) if isinstance(answer, Tensor) else tuple(answer)
        answer = self.op(*replaced(self.args, read), **{name: replaced(arg, read) for name, arg in self.kwargs.items()})
        return (answer,) if isinstance(answer, Tensor) else tuple(answer)


Program = program.Program[Step]


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
    if isinstance(leaf, Tensor) or (isinstance(leaf, Constant) and not has_numbers(leaf.value)):
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


def tensor_of(array: np.ndarray) -> Tensor:
    """On the CPU, without a copy where PyTorch can take the array as it is."""
    return torch.from_numpy(array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy())
