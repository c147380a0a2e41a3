"""PyTorch's answers to what `impls.own` asks (`impls.own.halves`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from impls.own.torch.finite import backward, forward
from impls.own.torch.network import own_network, whole
from impls.own.torch.selfcheck import fewer_bits, products, ready
from reference.case import Outputs

__all__ = ["across", "backward", "fewer_bits", "forward", "kernel_function", "operator", "own_network", "products",
           "ready", "whole"]


def across() -> Any:
    from impls.own.torch import across

    return across


def operator() -> Any:
    from impls.own.torch import operator

    return operator


def kernel_function(f: Callable[[Any, Any], Any], outputs: Outputs, method: str) -> Callable[[Any, Any, Any], Any]:
    from impls.own.torch import ntk_fn

    return ntk_fn.kernel_function(f, outputs, method)
