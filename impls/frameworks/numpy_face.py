"""NumPy's face (`impls.frameworks.face`): one device, and no threads of its own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from impls.frameworks.face import Memory, processors
from impls.protocol import Array
from reference import InputError


def wake(device: str) -> None:
    if device != "cpu":
        raise InputError("NumPy runs on the CPU only; use --device cpu")


def device_memory() -> Memory | None:
    return None


def free_device_memory() -> int | None:
    return None


def threads() -> int:
    return processors()


def set_threads(threads: int) -> None:
    """BLAS has them, and who started the process has set them."""
    del threads


def state() -> dict[str, Any]:
    _, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {"the state of NumPy's random numbers": (np.asarray(words).tobytes(), *rest),
            "what NumPy does about errors": np.geterr()}


def precision(dtype: Any) -> nullcontext[None]:
    del dtype
    return nullcontext()


def named(params: Any) -> list[tuple[str, Array]]:
    return list(params.items())
