"""What the engine needs of PyTorch's inner modules, in one place; `tests.test_structured_torch` guards each use.

There is no public way to see the operations of a function as they are executed, with the tensors that share memory.
`torch.export` is public, but takes neither functions that differentiate themselves nor tensors that need gradients.
"""

from __future__ import annotations

from torch import Tensor

try:
    from torch._ops import OpOverload
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
except ImportError as error:  # pragma: no cover
    raise ImportError(
        f"structured_torch reads inner modules of PyTorch that this version does not have ({error}); it was made for "
        "PyTorch 2.13. Use torch_func.jacobian_contraction instead, or PyTorch 2.13"
    ) from error

__all__ = [
    "DataDependentOutputException",
    "FakeTensor",
    "FakeTensorMode",
    "OpOverload",
    "TorchDispatchMode",
    "changes_arguments",
    "has_hooks",
    "overload_name",
    "same_memory",
]


def changes_arguments(op: OpOverload) -> bool:
    """Whether the operation works in place."""
    return bool(op._schema.is_mutable)


def overload_name(op: OpOverload) -> str:
    """As in ``Tensor`` of ``aten.add.Tensor``."""
    return op._overloadname


def has_hooks(tensor: Tensor) -> bool:
    """Whether a hook changes the gradient on its way back through `tensor`."""
    return bool(tensor._backward_hooks)


def same_memory(left: Tensor, right: Tensor) -> bool:
    """Whether both lie in one piece of memory, which tensors without numbers have as well, but at no address."""
    return left.untyped_storage()._cdata == right.untyped_storage()._cdata
