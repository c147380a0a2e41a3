"""What is asked of a framework, whichever it is: one object with the same few functions, `face(framework)`.

Each face is a module of its framework's half, which imports that framework and no other.
"""

from __future__ import annotations

import os

from impls.frameworks.face import Face
from impls.protocol import Framework
from reference import InputError

# What a framework imports only when it is used first, seconds of it, which would be charged to a method's first call.
LAZY_IMPORTS: dict[str, tuple[str, ...]] = {
    "torch": ("torch._dynamo", "impls.frameworks.torch.face"), "jax": ("impls.frameworks.jax.face",),
    "numpy": ("impls.frameworks.numpy_face",)}


def face(framework: Framework) -> Face:
    """That of the framework, which is imported."""
    if framework == "jax":
        from impls.frameworks.jax import face as found
    elif framework == "torch":
        from impls.frameworks.torch import face as found
    else:
        from impls.frameworks import numpy_face as found
    return found


def missing_device(framework: Framework, device: str) -> str | None:
    """Why that framework cannot run on the device "cpu" or "cuda", or None."""
    try:
        face(framework).wake(device)
    except InputError as error:
        return str(error)
    return None


def free_memory(framework: Framework, device: str) -> int | None:
    """Bytes that can still be allocated there; None where neither the system nor the framework tells."""
    return _free_memory_of_host() if device == "cpu" else face(framework).free_device_memory()


def _free_memory_of_host() -> int | None:
    try:
        import psutil
    except ModuleNotFoundError:  # it comes with the benchmarks only; POSIX tells what is free without the caches
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    return psutil.virtual_memory().available
