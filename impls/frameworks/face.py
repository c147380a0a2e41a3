"""What every framework's face answers, and what the faces share."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from impls.protocol import Array


class Memory(NamedTuple):
    """Bytes that the allocator of a CUDA device holds: now, and at most so far."""

    now: int
    peak: int
    driver: int | None = None
    """What the driver counts as taken now, by all: contexts and libraries too. None where it is not asked."""


class Face(Protocol):
    """The functions of `impls.frameworks.jax.face`, `impls.frameworks.torch.face` and `impls.frameworks.numpy_face`."""

    def wake(self, device: str) -> None:
        """Start the device, so that no method is charged for it. Raises `InputError` where there is none."""
        ...

    def device_memory(self) -> Memory | None:
        """Of the first CUDA device; None where the framework's allocator keeps no count."""
        ...

    def free_device_memory(self) -> int | None:
        """Bytes that can still be allocated on the first CUDA device, or None."""
        ...

    def threads(self) -> int:
        """How many threads a computation on the CPU has."""
        ...

    def set_threads(self, threads: int) -> None:
        """Where the framework keeps a count of its own."""
        ...

    def state(self) -> dict[str, Any]:
        """What the framework holds for the whole process, by its name in a sentence; two states can be compared."""
        ...

    def precision(self, dtype: Any) -> AbstractContextManager[None]:
        """Inside, arrays of that dtype exist and keep all their bits in products."""
        ...

    def named(self, params: Any) -> list[tuple[str, Array]]:
        """The arrays of a framework's parameters, by name."""
        ...


def processors() -> int:
    """That this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
