"""What the engine needs of PyTorch's inner modules, in one place; `tests.impls.structured.test_torch` guards each use.

There is no public way to see the operations of a function as they are executed, with the tensors that share memory.
`torch.export` is public, but takes neither functions that differentiate themselves nor tensors that need gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

try:
    from torch._C import _autograd, _get_dispatch_mode, _TorchDispatchModeKey
    from torch._C._functorch import is_functionaltensor, is_functorch_wrapped_tensor, peek_interpreter_stack
    from torch._ops import OpOverload
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
        FakeTensor,
        FakeTensorMode,
        unset_fake_temporarily,
    )
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.weak import WeakTensorKeyDictionary
except ImportError as error:  # pragma: no cover
    raise ImportError(
        f"structured_torch reads inner modules of PyTorch that this version does not have ({error}); it was made for "
        "PyTorch 2.13. Use torch_func.jacobian_contraction instead, or PyTorch 2.13"
    ) from error

__all__ = [
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "FakeTensor",
    "FakeTensorMode",
    "OpOverload",
    "Watching",
    "WeakTensorKeyDictionary",
    "changes_arguments",
    "gives_nothing",
    "gives_tensor",
    "has_hooks",
    "has_numbers",
    "is_functorch_wrapped_tensor",
    "is_random",
    "memory",
    "overload_name",
    "surrounding_transform",
    "tensors",
    "unset_fake_temporarily",
    "without_saved_hooks",
    "written",
]


class Watching(TorchDispatchMode):
    """Sees every operation that is executed inside. PyTorch would import its compiler, a second, to keep it from
    compiling what a mode of its own does; nothing is compiled here."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def tensors(value: Any) -> Iterator[Tensor]:
    """Those of an operation's arguments or results, which stand in tuples and lists at most."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors(part)


def changes_arguments(op: OpOverload) -> bool:
    """Whether the operation works in place."""
    return bool(op._schema.is_mutable)


def written(op: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors among its arguments that the operation writes to."""
    if not changes_arguments(op):
        return
    for argument, value in zip(op._schema.arguments, args, strict=False):
        yield from _written(argument, value)
    for argument in op._schema.arguments:
        yield from _written(argument, kwargs.get(argument.name))


def _written(argument: Any, value: Any) -> Iterator[Tensor]:
    if argument.alias_info is not None and argument.alias_info.is_write and value is not None:
        yield from (value,) if isinstance(value, Tensor) else value


def gives_tensor(op: OpOverload) -> bool:
    """Whether it gives one tensor, and not a tuple or list."""
    return [str(result.type) for result in op._schema.returns] == ["Tensor"]


def gives_nothing(op: OpOverload) -> bool:
    """Whether it only checks something, as `_linalg_check_errors` does."""
    return not op._schema.returns and not changes_arguments(op)


def is_random(op: OpOverload) -> bool:
    """Whether its numbers are drawn."""
    return torch.Tag.nondeterministic_seeded in op.tags


def has_numbers(tensor: Tensor) -> bool:
    """Whether it is a tensor as others are: not one of a tracer's, nor one without memory."""
    if isinstance(tensor, FakeTensor) or tensor.is_meta or is_functorch_wrapped_tensor(tensor):
        return False
    return not is_functionaltensor(tensor)


def argument_types(op: OpOverload) -> list[str]:
    """As in ``["Tensor", "number"]``."""
    return [str(argument.type) for argument in op._schema.arguments]


def overload_name(op: OpOverload) -> str:
    """As in ``Tensor`` of ``aten.add.Tensor``."""
    return op._overloadname


def has_hooks(tensor: Tensor) -> bool:
    """Whether a hook changes the gradient on its way back through `tensor`."""
    return bool(tensor._backward_hooks)


def memory(tensor: Tensor) -> int:
    """The piece of memory that it lies in, which tensors without numbers have as well, but at no address."""
    return tensor.untyped_storage()._cdata


def is_mapped(value: Any) -> bool:
    """Whether it is a tensor that stands for others: written down, mapped or differentiated by a transform."""
    return isinstance(value, FakeTensor) or (isinstance(value, Tensor) and is_functorch_wrapped_tensor(value))


@contextmanager
def without_saved_hooks() -> Iterator[None]:
    """Inside, none of the hooks of `torch.autograd.graph.saved_tensors_hooks` that are around acts: `torch.func` takes
    no derivatives under any, and those of a user's may refuse, count or round what they are given."""
    found = []
    while (pair := _autograd._top_saved_tensors_default_hooks(True)) is not None:
        _autograd._pop_saved_tensors_default_hooks()
        found.append(pair)
    try:
        yield
    finally:
        for pair in reversed(found):
            _autograd._push_saved_tensors_default_hooks(*pair)


def surrounding_transform() -> str | None:
    """What is around in which tensors have no numbers, or stand for others."""
    if _get_dispatch_mode(_TorchDispatchModeKey.FAKE) is not None:
        return "FakeTensorMode"
    inside = peek_interpreter_stack()
    return None if inside is None else f"torch.func.{inside.key().name.lower()}"
