"""The processes below a process: which there are, what is at work in them, and how they are ended.

From /proc/pid/task/tid/children, which costs microseconds where a walk through all processes costs milliseconds. Off
Linux, and where the kernel has no such file, none is found: a process is then ended with its group alone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_ROUNDS, _PAUSE_S = 50, 0.02
"""What is being ended may start another one meanwhile: it is looked for again, for about a second."""


def below(pid: int | None, but: Iterable[int] = ()) -> list[int]:
    """Those that this one has started, and theirs, but for these and what is below these; and for those that have ended
    and wait to be buried."""
    spared = frozenset(but)
    found = [each for child in _children(pid) if child not in spared for each in (child, *_below(child))]
    return [each for each in found if lives(each)]


def at_work(pid: int) -> set[int]:
    """Its threads that run, or wait for nothing but a processor; none off Linux. Source: proc(5), /proc/pid/stat."""
    found: set[int] = set()
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/stat"):
            with suppress(OSError):  # the thread is over
                if path.read_text().rpartition(")")[2].split()[0] == "R":
                    found.add(int(path.parent.name))
    return found


def lives(pid: int) -> bool:
    """Whether there is such a process, which has not ended."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


def end_below(pid: int, but: Iterable[int] = ()) -> bool:
    """Kill them all, those that they start meanwhile too, but for these and what is below these; whether all ended.

    One whose parent has ended is below `pid` still if that adopts orphans (`bench.running.bound`).
    """
    spared = frozenset(but)
    return _end(lambda: below(pid, spared))


def end_marked(variable: str, value: str) -> bool:
    """The same of all processes, wherever they are, that were started with this variable in their environment."""
    return _end(lambda: [each for each in _marked(f"{variable}={value}".encode()) if lives(each)])


def _end(find: Callable[[], list[int]]) -> bool:
    for _ in range(_ROUNDS):
        left = find()
        if not left:
            return True
        for each in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        time.sleep(_PAUSE_S)
    return False


def _marked(setting: bytes) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it is over, or another user's
            if setting in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


def _below(pid: int) -> list[int]:
    return [each for child in _children(pid) for each in (child, *_below(child))]


def _children(pid: int | None) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # the process is over: its folder may go at any moment, between two steps of glob as well
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # the thread is over
                found += map(int, path.read_text().split())
    return found
