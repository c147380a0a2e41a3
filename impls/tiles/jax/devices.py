"""JAX's devices by number or by themselves."""

from __future__ import annotations

from typing import Any

import jax

from reference import InputError
from reference.case import Device

MORE = "XLA_FLAGS=--xla_force_host_platform_device_count=N in the environment makes N of the CPU"


def found(asked: Any, kind: Device) -> tuple[Any, ...]:
    """`asked`: how many of that kind, or a list of them, or of their numbers. Raises `InputError`, which says what
    there is, for others."""
    there = jax.devices("gpu" if kind == "cuda" else kind)
    if isinstance(asked, int):
        if not 0 < asked <= len(there):
            raise InputError(f"devices={asked}: JAX has {len(there)} of {kind} here ({_names(there)})"
                             + (f"; {MORE}" if kind == "cpu" else ""))
        return tuple(there[:asked])
    chosen = tuple(there[each] if isinstance(each, int) and 0 <= each < len(there) else each for each in asked)
    unknown = [each for each in chosen if each not in there]
    if unknown or not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"devices={asked!r}: give some of JAX's devices of {kind}, each once, or their numbers; there "
                         f"are {_names(there)}")
    return chosen


def _names(devices: Any) -> str:
    return ", ".join(map(str, devices))
