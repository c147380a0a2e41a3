"""The memory of a process, in bytes. The peak is Linux only: elsewhere it is None."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

LIMIT_FRACTION = 0.9
"""Of the memory that is free when a run begins; what a cell may hold unless told otherwise."""

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_VMSTAT = Path("/proc/vmstat")


def resident() -> int:
    """Resident memory of this process."""
    return psutil.Process().memory_info().rss


def of_children(pid: int | None) -> int:
    """Resident memory of the processes that this one has started, and theirs; pages that they share count in each.

    From /proc/pid/task/tid/children, which costs microseconds where a walk through all processes costs milliseconds;
    0 off Linux, and where the kernel has no such file.
    """
    return sum(_resident_of(child) + of_children(child) for child in _children(pid))


def _children(pid: int | None) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # the process is over: its folder may go at any moment, between two steps of glob as well
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # the thread is over
                found += map(int, path.read_text().split())
    return found


def _resident_of(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:  # it is over
        return 0


def reset_peak() -> bool:
    """Let the kernel's high-water mark (VmHWM) begin anew from here; False where that cannot be done.

    Source: proc(5), /proc/pid/clear_refs, value 5.
    """
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:  # not Linux, or a sandbox that withholds it: the peak is then not reported
        return False
    return True


def peak() -> int | None:
    """Largest resident memory since `reset_peak` (or since the process began), None off Linux."""
    return _status("VmHWM")


def of_files() -> int:
    """Resident memory of this process that is a file's: the code of libraries above all. 0 off Linux.

    Such pages are one for all processes and may leave at any time, and how many a process has depends on what it has
    touched: one forked from a server with the libraries has none of their code at first, and each that it calls comes
    in (seen: 71 MiB for the first compilation by XLA, of 96 in all; 12 MiB for the first products in PyTorch, of 13).
    """
    return _status("RssFile") or 0


def _status(name: str) -> int | None:
    """Bytes, from proc(5), /proc/pid/status."""
    if not _STATUS.exists():
        return None
    line = next((line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")), None)
    return None if line is None else int(line.split()[1]) * 1024


def total() -> int:
    """Memory of this machine, or of the container where that is less."""
    limits = [int(text) for path in _CGROUP_LIMITS if path.exists() and (text := path.read_text().strip()).isdigit()]
    return min([psutil.virtual_memory().total, *limits])


def default_limit() -> int:
    """What one cell may hold: a share of what is free now, so that the kernel need not kill at random."""
    return int(LIMIT_FRACTION * min(psutil.virtual_memory().available, total()))


def kills_by_kernel() -> int:
    """How many processes the kernel has killed for want of memory since boot; 0 where it does not say."""
    if not _VMSTAT.exists():
        return 0
    counts = (line.split() for line in _VMSTAT.read_text().splitlines() if line.startswith("oom_kill "))
    return sum(int(count) for _, count in counts)
