"""A measurement in a process of its own, on what the machine gives it, and how much memory it came to hold."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bench.machine import memory


def measured(measure: Callable[..., None], *arguments: Any, limit_s: float | None = None) -> Any:
    """What ``measure(*arguments, sender)`` sends from there; None where it has sent nothing within the limit, after
    which it is killed. Without a limit `EOFError` where it ends without a word."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(*arguments, sender))
    process.start()
    sender.close()
    if limit_s is None:
        found = receiver.recv()
        process.join()
        return found
    process.join(limit_s)
    process.kill()
    with suppress(EOFError):  # it ended without a word, as for want of memory
        return receiver.recv()
    return None


def resident() -> int:
    """Bytes that this process holds, from where `peak` counts."""
    memory.reset_peak()
    return memory.resident()


def peak(before: int) -> int:
    """Bytes beyond those, at the most since then."""
    return (memory.peak() or before) - before
