"""From a framework's own array to NumPy's, and waiting until it is computed; no framework is imported for it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from impls.protocol import Array


def block_until_ready(array: Array) -> Array:
    """`array`, once its device has computed it. Raises `TypeError` for what is no array of NumPy, JAX or PyTorch, and
    for a masked one."""
    if _is("torch", "Tensor", array):
        if array.is_cuda:
            sys.modules["torch"].cuda.synchronize(array.device)
        return array
    if _is("jax", "Array", array):
        return array.block_until_ready()
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("a method returns all numbers of a kernel, got a masked array")
    if isinstance(array, np.ndarray | np.generic):  # a number of an array is one of NumPy's own types
        return array
    raise TypeError(f"a method returns an array of NumPy, JAX or PyTorch, got {type(array).__name__}")


def to_numpy(array: Array) -> np.ndarray:
    """A NumPy copy of `array`, same shape and dtype, sharing no memory with what the method may write to later; a
    bfloat16 of PyTorch's, which NumPy has not, as float32, which holds all of its numbers.

    Waits until the array is computed. Raises `TypeError` for what is no array of NumPy, JAX or PyTorch.
    """
    ready = block_until_ready(array)
    if _is("torch", "Tensor", ready):
        ready = (ready.float() if ready.dtype == sys.modules["torch"].bfloat16 else ready).numpy(force=True)
    return np.array(ready, copy=True)


def is_plain(array: Array) -> bool:
    """Whether it is of the framework's own class, and no subclass that may compute its numbers when they are read; nor
    has attributes of its own, which may do so as well."""
    kind = type(array)
    claimed = kind.__module__.partition(".")[0] in ("torch", "jaxlib", "jax", "numpy")
    found = getattr(sys.modules.get(kind.__module__), kind.__qualname__, None)
    return claimed and found is kind and not getattr(array, "__dict__", None)


def on_host(array: Any) -> Any:
    """A JAX array of the CPU as NumPy's, which shares its memory and compiles nothing; any other array as it is."""
    if _is("jax", "Array", array) and {device.platform for device in array.devices()} == {"cpu"}:
        return np.asarray(array)
    return array


def is_torch(array: Any) -> bool:
    """Whether it is a tensor."""
    return _is("torch", "Tensor", array)


def is_jax(array: Any) -> bool:
    """Whether it is JAX's."""
    return _is("jax", "Array", array)


def _is(framework: str, kind: str, array: Array) -> bool:
    """Whether `array` is a ``framework.kind``; an array of a framework that is not imported cannot exist."""
    module = sys.modules.get(framework)
    return module is not None and hasattr(module, kind) and isinstance(array, getattr(module, kind))


def first_bad(named: Any) -> str | None:
    """The name of the first array that is not finite."""
    for name, array in named:
        values = to_numpy(array)
        if not (abs(values) < float("inf")).all():
            return name
    return None
