"""PyTorch's answers to what `impls.own` asks (`impls.own.halves`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from impls.frameworks.torch import support
from impls.frameworks.torch.internals import surrounding_transform
from impls.own.torch.finite import backward, forward
from impls.own.torch.network import own_network, whole
from impls.own.torch.selfcheck import fewer_bits, products, ready
from reference import InputError
from reference.case import Outputs

__all__ = ["across", "apart", "backward", "fewer_bits", "forward", "kernel_function", "operator", "own_network",
           "plain", "products", "ready", "whole"]


@contextmanager
def apart() -> Iterator[None]:
    """As `impls.own.halves.Half` says."""
    if (around := surrounding_transform()) is not None:
        of_numbers = around == "FakeTensorMode"
        raise InputError(f"the kernel is computed from numbers, and inside {around} tensors have none: call it outside"
                         + ("" if of_numbers else ", or take impls.ntk_fn, a function (params, x1, x2) that can be "
                            "mapped and differentiated"))
    with support.apart():
        yield


def plain(kernel: Any) -> Any:
    """As `impls.own.halves.Half` says."""
    if isinstance(kernel, dict):
        return {name: plain(part) for name, part in kernel.items()}
    return kernel.as_subclass(Tensor) if isinstance(kernel, Tensor) else kernel


def across() -> Any:
    from impls.own.torch import across

    return across


def operator() -> Any:
    from impls.own.torch import operator

    return operator


def kernel_function(f: Callable[[Any, Any], Any], outputs: Outputs, method: str) -> Callable[[Any, Any, Any], Any]:
    from impls.own.torch import ntk_fn

    return ntk_fn.kernel_function(f, outputs, method)
