"""The examples of an array changed where they lie, in their order or a little in their numbers: whoever holds the array
holds them so.

For the benchmarks, which change what a method computes from between its calls. JAX's arrays are not meant to change:
theirs are written to through the address of their buffer, here alone, and only on the CPU.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

from impls.protocol import Array


def is_array(value: Any) -> bool:
    """Of NumPy, JAX or PyTorch."""
    return isinstance(value, np.ndarray) or _is_torch(value) or _is_jax(value)


def address(array: Array) -> int:
    """Where its numbers begin: the same for two arrays that share them. 0 where that is nowhere."""
    if _is_torch(array):
        return array.data_ptr()
    if _is_jax(array):
        return array.unsafe_buffer_pointer() if len(array.devices()) == 1 else 0
    return array.ctypes.data


def rearrange(array: Array, order: np.ndarray) -> bool:
    """Put the example `order[i]` in the place i of the first axis; False where that cannot be done."""
    if _is_torch(array):
        torch = sys.modules["torch"]
        array.data.copy_(array.data[torch.as_tensor(order, device=array.device)])  # .data: no graph is to know of it
        return True
    memory = _memory(array)
    if memory is None:
        return False
    memory[...] = memory[order]
    return True


def nudge(array: Array, by: int) -> bool:
    """Move each number by so many steps of its dtype away from zero, towards it where `by` is negative, which can be
    taken back to the bit; zeros stay. False where that cannot be done: of integers, and of 16 bits, whose steps are
    large."""
    if _is_torch(array):
        torch = sys.modules["torch"]
        whole = {torch.float32: torch.int32, torch.float64: torch.int64}.get(array.dtype)
        if whole is None:
            return False
        array.data.view(whole).add_(by * _between(array.data).to(whole))
        return True
    memory = _memory(array)
    if memory is None or memory.dtype not in _WHOLE:
        return False
    whole = _WHOLE[memory.dtype]
    memory.view(whole)[...] += whole(by) * _between(memory)
    return True


def _between(numbers: Any) -> Any:
    """Which of them are neither zero nor as good as infinite: a mask may be."""
    return (numbers != 0) & (abs(numbers) < _LARGE)


_LARGE = 1e30
_WHOLE = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
"""Integers of the same size."""


def _memory(array: Array) -> np.ndarray | None:
    """What can be written to, and is the array's own."""
    if not _is_jax(array):
        if array.flags.writeable:
            return array
    elif {device.platform for device in array.devices()} != {"cpu"}:
        return None
    seen = np.asarray(array)
    if not seen.flags.c_contiguous or seen.ctypes.data != address(array):
        return None
    buffer = (ctypes.c_char * seen.nbytes).from_address(seen.ctypes.data)
    return np.frombuffer(memoryview(buffer), seen.dtype).reshape(seen.shape)


def _is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_jax(value: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
