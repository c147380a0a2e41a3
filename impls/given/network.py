"""A network of the user's own with its inputs, checked, in its framework's arrays: what `ntk` computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_args

import numpy as np

from impls.protocol import Array, Framework
from reference import InputError
from reference.case import Device, DType


class OwnNetwork(NamedTuple):
    """`f(params, x)` is batched; `params` holds the trainable parameters and nothing else.

    x1 and x2 are arrays, or `OwnBatches`, whose length is the number of examples as well.
    """

    framework: Framework
    f: Callable[[Any, Array], Array]
    params: Any
    x1: Array
    x2: Array | None
    dtype: DType
    device: Device
    n_outputs: int
    n_params: int
    first: Any = None
    """What the checks saw of the first example of x1, in PyTorch (`FirstPass` of `impls.frameworks.torch.first_pass`);
    None where they were made one by one."""
    table: Any = None
    """Where x1 and x2 are numbers of rows, their rows (`impls.given.table.Table`)."""

    @property
    def jacobian_bytes(self) -> int:
        """Of one example: O·P numbers."""
        return self.n_outputs * self.n_params * np.dtype(self.dtype).itemsize


def check_examples(x1: Array, x2: Array | None) -> None:
    """Raise `InputError` unless both are non-empty batches of examples of one shape."""
    for name, x in (("x1", x1), ("x2", x2)):
        if x is not None and (x.ndim == 0 or 0 in x.shape):
            raise InputError(f"{name} is empty (shape {tuple(x.shape)}); it needs at least one example")
    if x2 is not None and x1.shape[1:] != x2.shape[1:]:
        raise InputError(f"x1 and x2 must hold examples of one shape, got {tuple(x1.shape)} and {tuple(x2.shape)}")


def check_numbers(dtype: str, are_numbers: bool, what: str) -> None:
    """Raise `InputError` for inputs that are neither real floating-point numbers nor integers (tokens, say)."""
    if not are_numbers:
        raise InputError(f"{what} must hold floating-point numbers or integers, got {dtype}; convert it, e.g. "
                         "x.astype('float32')")


def check_finite(is_finite: bool, what: str) -> None:
    """Raise `InputError` where something is NaN or infinite."""
    if not is_finite:
        raise InputError(f"{what} holds NaN or infinite values; the kernel is not defined there")


def one_device(devices: Iterable[Device | str]) -> Device:
    """"cpu" or "cuda", where all parameters and inputs are; `InputError` for several devices or another kind."""
    found = sorted(set(devices))
    if len(found) > 1:
        raise InputError(f"the parameters and the inputs are on several devices ({', '.join(found)}); move them to one")
    for kind in get_args(Device):
        if found[0].partition(":")[0] == kind:
            return kind
    raise InputError(f"device {found[0]!r} is not one of {', '.join(get_args(Device))}")
