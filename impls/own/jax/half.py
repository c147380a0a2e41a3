"""JAX's answers to what `impls.own` asks (`impls.own.halves`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from impls.frameworks.jax.support import apart
from impls.own.jax.finite import backward, forward
from impls.own.jax.network import own_network, whole
from impls.own.jax.selfcheck import fewer_bits, products
from impls.own.jax.untraced import ready
from reference.case import Outputs

__all__ = ["across", "apart", "backward", "fewer_bits", "forward", "kernel_function", "operator", "own_network",
           "plain", "products", "ready", "whole"]


def plain(kernel: Any) -> Any:
    """JAX's arrays have no subclasses."""
    return kernel


def across() -> Any:
    from impls.own.jax import across

    return across


def operator() -> Any:
    from impls.own.jax import operator

    return operator


def kernel_function(f: Callable[[Any, Any], Any], outputs: Outputs, method: str) -> Callable[[Any, Any, Any], Any]:
    from impls.own.jax import ntk_fn

    return ntk_fn.kernel_function(f, outputs, method)
