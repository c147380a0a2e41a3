"""`nngp`: the covariance of the outputs of a network of your own over its initialisations, in one call."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from impls.frameworks.arrays import to_numpy
from impls.frameworks.uncompiled import uncompiled
from impls.methods.options import checked_samples
from impls.own.halves import half
from reference import InputError, Request
from reference.case import Outputs


class Average(NamedTuple):
    """`kernel`, and the `standard_error` of each of its entries, arrays of the framework of the same shape."""

    kernel: Any
    standard_error: Any


@uncompiled
def nngp(factory: Callable[..., Any], x1: Any, x2: Any = None, *, n_samples: int = 1024, seed: int = 0,
         outputs: Outputs = "full", batch_size: int | None = None) -> Average:
    """`impls.nngp`, which says what it is; it stands apart so that importing `impls` stays quick."""
    request = Request(outputs, seed=seed, batch_size=batch_size, quantity="nngp")
    checked_samples(n_samples)
    takes_key = _takes_key(factory)
    if takes_key:
        from impls.own.jax.nngp import average
    else:
        from impls.own.torch.nngp import average
    with half("jax" if takes_key else "torch").apart():
        first, second = checked_examples(x1, x2)
        x = first if second is None else np.concatenate([first, second])
        found = Average(*average(factory, x, len(first), second is None, n_samples, request))
    if not np.isfinite(to_numpy(found.kernel)).all():
        raise InputError("the average over initialisations is not finite: some networks of the factory have outputs "
                         "that are NaN or infinite; draw smaller parameters, or use float64")
    return found


def _takes_key(factory: Any) -> bool:
    """Whether it is one of JAX's, which takes a key; one of PyTorch's takes nothing."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError) as error:
        raise InputError(f"the factory must be a function, got {reprlib.repr(factory)}; give e.g. "
                         "lambda key: eqx.nn.MLP(2, 1, 64, 2, key=key), or a function without arguments that returns "
                         "a torch.nn.Module") from error
    needed = [each for each in parameters if each.default is each.empty
              and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        raise InputError(f"the factory takes {', '.join(each.name for each in needed)}; give a function of the key "
                         "alone (JAX), or of nothing (PyTorch)")
    return bool(needed)


def checked_examples(x1: Any, x2: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """As NumPy's arrays, in the machine's order of bytes; raises `InputError` for what is not finite, empty, or of two
    shapes."""
    first, second = _checked(x1, "x1"), None if x2 is None else _checked(x2, "x2")
    if second is not None and first.shape[1:] != second.shape[1:]:
        raise InputError(f"x1 and x2 must hold examples of one shape, got {first.shape} and {second.shape}")
    return first, second


def _checked(x: Any, what: str) -> np.ndarray:
    array = x if isinstance(x, np.ndarray) else to_numpy(x)
    if array.ndim < 1 or array.size == 0:
        raise InputError(f"{what} is empty (shape {array.shape}); it needs at least one example")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} must be an array of real numbers or tokens, got {array.dtype}")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{what} is not finite at index {where} (value {array[where]}); remove or mask such values")
    return np.array(array, array.dtype.newbyteorder("="), order="C")
