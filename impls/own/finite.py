"""A kernel that holds NaN or infinity is an error that says where they first appear."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from impls.frameworks.arrays import on_host
from impls.frameworks.faces import face
from impls.given.batches import OwnBatches
from impls.given.network import OwnNetwork
from impls.own.halves import half
from reference import InputError


def check(kernel: Any, own: OwnNetwork, method: str) -> None:
    """Raise `InputError` unless all of the kernel, or of a dict of kernels, is finite."""
    kernels = kernel.values() if isinstance(kernel, dict) else (kernel,)
    with precision(own):
        if all(is_finite(each) for each in kernels):
            return
        where = _first(own)
    if where is None:
        raise InputError(f"the kernel by {method} holds NaN or infinite values, though the model's outputs and their "
                         f"gradients are finite: products of the gradients are beyond {own.dtype}{_remedy(own)}")
    raise InputError(f"the kernel holds NaN or infinite values: they first appear in {where}{_remedy(own)}")


def precision(own: OwnNetwork) -> AbstractContextManager[None]:
    """In which the framework has the network's dtype."""
    return face(own.framework).precision(own.dtype)


def is_finite(kernel: Any) -> bool:
    """By the sum of the entries, which needs no second kernel; where that overflows, by that of the entries times 0."""
    values = on_host(kernel)
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(abs(values.sum()) < np.inf) or bool((values * 0).sum() == 0)


def _remedy(own: OwnNetwork) -> str:
    return "; in float64 the numbers may fit: convert the model and x" if own.dtype == "float32" else ""


def _first(own: OwnNetwork) -> str | None:
    """In words: an operation or layer of the forward pass, or the gradient of a parameter, of the first example that
    has them."""
    of_framework, number = half(own.framework), 0
    for what, x in (("x1", own.x1), ("x2", own.x2)):
        for batch in () if x is None else x if isinstance(x, OwnBatches) else (x,):
            for number in range(len(batch)):
                example = batch[number:number + 1]
                if (found := of_framework.forward(own, example)) is not None:
                    return f"the forward pass, in {found} (example {number} of {what})"
                if (found := of_framework.backward(own, example)) is not None:
                    return f"the backward pass: the gradient of {found} (example {number} of {what})"
    return None
