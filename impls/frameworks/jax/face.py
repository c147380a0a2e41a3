"""JAX's face (`impls.frameworks.face`)."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from impls.frameworks.face import Memory, processors
from impls.frameworks.jax import support
from impls.frameworks.jax.support import leaf_names, precision

__all__ = ["device_memory", "free_device_memory", "named", "precision", "set_threads", "state", "threads", "wake"]


def wake(device: str) -> None:
    zero = jax.device_put(np.zeros(1, dtype=np.float32), support.device(device))
    jax.jit(lambda x: x + 1)(zero).block_until_ready()  # the compiler as well: five MiB


def device_memory() -> Memory | None:
    found = support.device("cuda").memory_stats()
    return None if not found else Memory(found["bytes_in_use"], found["peak_bytes_in_use"])


def free_device_memory() -> int | None:
    found = support.device("cuda").memory_stats()
    return None if not found else found["bytes_limit"] - found["bytes_in_use"]


def threads() -> int:
    return processors()


def set_threads(threads: int) -> None:
    """JAX takes one for each core that the process may run on."""
    del threads


def state() -> dict[str, Any]:
    return {f"JAX's {name}": value for name, value in jax.config.values.items()}


def named(params: Any) -> list[tuple[str, jax.Array]]:
    return list(zip(leaf_names(params), jax.tree.leaves(params), strict=True))
