"""PyTorch's devices by number or by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from reference import InputError
from reference.case import Device


def found(asked: Any, kind: Device) -> tuple[str, ...]:
    """`asked`: how many of that kind, or a list of names, such as "cuda:1". Raises `InputError`, which says what there
    is, for others. Of the CPU any number: each is a process with its share of the threads."""
    n = torch.cuda.device_count()
    there = [f"cuda:{i}" for i in range(n)]
    if isinstance(asked, int):
        if asked < 1 or (kind == "cuda" and asked > n):
            raise InputError(f"devices={asked}: PyTorch has {n} of cuda here ({', '.join(there) or 'none'})"
                             if kind == "cuda" else f"devices must be a positive number of processes, got {asked}")
        return tuple(there[:asked]) if kind == "cuda" else ("cpu",) * asked
    chosen = tuple(f"cuda:{each}" if isinstance(each, int) else str(each) for each in asked)
    unknown = [each for each in chosen if each not in (*there, "cpu")]
    if unknown or not chosen or len({each.partition(":")[0] for each in chosen}) > 1:
        raise InputError(f"devices={asked!r}: give names of PyTorch's devices, of one kind; there are "
                         f"{', '.join([*there, 'cpu'])}")
    return chosen


@contextmanager
def entered(device: str) -> Iterator[None]:
    """Inside, "cuda" is that device."""
    with torch.cuda.device(device) if device.startswith("cuda") else nullcontext():
        yield
