"""Cotangents in the order of memory that PyTorch's own backward passes are right for, and gradients that are dense."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from impls.frameworks.torch.internals import is_mapped

# PyTorch 2.13, CPU: the backward pass of batch normalisation takes a cotangent that lies channels last for one that is
# contiguous where the batch is of one, for their strides cannot be told apart: gradients off by 30 to 270 % (Conv2d,
# BatchNorm2d, flatten(2).transpose(1, 2)). Instance normalisation calls it with N·C channels and a batch of one, so
# that it is wrong for batches of any size. Found by comparing transposed with contiguous cotangents over 60 operations
# (`tests.impls.frameworks.test_torch_gradients` repeats it for the normalisations, and tells when PyTorch has mended
# it).
MENDED = frozenset(
    getattr(where, name)
    for name in ("batch_norm", "instance_norm") for where in (torch, torch.nn.functional)
)  # fmt: skip

DENSE: dict[Any, tuple[str, int]] = {
    torch.nn.functional.embedding: ("sparse", 6), torch.embedding: ("sparse", 4),
    torch.nn.functional.embedding_bag: ("sparse", 7), torch.embedding_bag: ("sparse", 5),
    torch.gather: ("sparse_grad", 3), torch.Tensor.gather: ("sparse_grad", 3),
}  # fmt: skip
"""What asks for gradients in another layout of the same numbers, and the place of the argument: rows of a Jacobian are
dense, and most operations have no sparse form."""

_HERE = threading.local()
"""Whether the thread is inside: modes are of threads."""


class ContiguousCotangents(TorchFunctionMode):
    """Inside, the cotangents of batch and instance normalisation are made contiguous, which does not change them, and
    no operation asks for sparse gradients.

    A function that `module` makes of a network has it in each call, whoever differentiates it; what takes any function
    and goes back from single examples enters it itself. One within another does nothing: each would be asked about
    every operation.
    """

    outer = False

    def __enter__(self) -> ContiguousCotangents:
        self.outer = getattr(_HERE, "inside", False)
        if not self.outer:
            _HERE.inside = True
            super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        if not self.outer:
            _HERE.inside = False
            super().__exit__(*raised)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in DENSE:
            args, kwargs = _dense(*DENSE[func], args, kwargs or {})
        y = func(*args, **(kwargs or {}))
        if func in MENDED and y.requires_grad and not is_mapped(y):
            y.register_hook(torch.Tensor.contiguous)
        return y


class ApartFromScales(TorchFunctionMode):
    """Inside, layer and instance normalisation are followed by their scales and shifts, not one operation with them.

    PyTorch 2.13: what `torch.func.vmap` makes of the backward pass of that one operation takes mean and variance for
    constants in the gradient of the scales, so that second derivatives of mapped functions, as of a kernel from
    Jacobians, are off by some per cent and nothing is said. Found by comparing with unmapped ones over 180 operations
    and layers, of which these two alone differed.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in SCALED:
            return _scaled(func, SCALED[func], args, kwargs)
        return func(*args, **kwargs)


SCALED: dict[Any, int] = {torch.layer_norm: 2, torch.nn.functional.layer_norm: 2,
                          torch.instance_norm: 1, torch.nn.functional.instance_norm: 3}
"""The place of the argument `weight`, behind which `bias` stands."""


def _scaled(func: Callable[..., Any], place: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    found = [args[i] if len(args) > i else kwargs.get(name) for i, name in ((place, "weight"), (place + 1, "bias"))]
    args = tuple(None if i in (place, place + 1) else each for i, each in enumerate(args))
    y = func(*args, **{name: None if name in ("weight", "bias") else value for name, value in kwargs.items()})
    weight, bias = (each if each is None or "instance" not in func.__name__ else each.reshape(-1, *[1] * (y.ndim - 2))
                    for each in found)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _dense(name: str, place: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    args = (*args[:place], False, *args[place + 1:]) if len(args) > place else args
    return args, {**kwargs, name: False} if name in kwargs else kwargs


def pulled_back(y: Tensor, weights: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of Σ weights·y, zeros where a leaf is not used; y may be differentiated again afterwards.

    Of a number, and not of y with a cotangent, whose shape PyTorch imports sympy to compare, for half a second.
    """
    with torch.enable_grad():
        total = (y * weights).sum()
    if not total.requires_grad:  # of a network whose way depends on the example, say
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(total, tuple(leaves), retain_graph=True, allow_unused=True, materialize_grads=True)
