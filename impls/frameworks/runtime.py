"""What the harness asks of a framework: a device that is awake, the allocator's own peak, the number of parameters.

Each function imports the framework that it is asked about, and no other.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from impls.protocol import Framework
from reference import InputError

# What a framework imports only when it is used first, seconds of it, which would be charged to a method's first call.
LAZY_IMPORTS: dict[str, tuple[str, ...]] = {"torch": ("torch._dynamo",), "jax": (), "numpy": ()}


class Memory(NamedTuple):
    """Bytes that the allocator of a CUDA device holds: now, and at most so far."""

    now: int
    peak: int


def missing_device(framework: Framework, name: str) -> str | None:
    """Why that framework cannot run on the device "cpu" or "cuda", or None."""
    try:
        wake(framework, name)
    except InputError as error:
        return str(error)
    return None


def wake(framework: Framework, name: str) -> None:
    """Start the framework's device, so that no method is charged for it. Raises `InputError` where there is none."""
    if framework == "jax":
        from impls.frameworks.jax import support as jax_support

        jax_support.device(name)
    elif framework == "torch":
        import torch

        from impls.frameworks.torch import support as torch_support

        torch.zeros(1, device=torch_support.device(name))
    elif name != "cpu":
        raise InputError("NumPy runs on the CPU only; use --device cpu")


def device_memory(framework: Framework) -> Memory | None:
    """Of the first CUDA device; None where the framework's allocator keeps no count."""
    if framework == "jax":
        from impls.frameworks.jax import support as jax_support

        found = jax_support.device("cuda").memory_stats()
        return None if not found else Memory(found["bytes_in_use"], found["peak_bytes_in_use"])
    if framework == "torch":
        import torch

        return Memory(torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated())
    return None


def free_memory(framework: Framework, device: str) -> int | None:
    """Bytes that can still be allocated there; None where neither the system nor the framework tells."""
    if device == "cpu":
        return _free_memory_of_host()
    if framework == "torch":
        import torch

        reserved = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # its own allocator's, to be used again
        return torch.cuda.mem_get_info()[0] + reserved
    from impls.frameworks.jax import support as jax_support

    found = jax_support.device(device).memory_stats()
    return None if not found else found["bytes_limit"] - found["bytes_in_use"]


def _free_memory_of_host() -> int | None:
    try:
        import psutil
    except ModuleNotFoundError:  # it comes with the benchmarks only; POSIX tells what is free without the caches
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    return psutil.virtual_memory().available


def set_threads(framework: Framework, threads: int) -> None:
    """PyTorch keeps a count of its own; JAX takes one thread for each core that the process may run on."""
    if framework == "torch":
        import torch

        torch.set_num_threads(threads)
