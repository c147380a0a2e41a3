"""The memory of a process, in bytes. The peak is Linux only: elsewhere it is None."""

from __future__ import annotations

from collections.abc import Iterable
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


def of_others(pids: Iterable[int]) -> int:
    """The most that these processes have held, by now, of memory that no other process has, nor any file.

    Of a forked one what it has written, not what it shares with its parent: Private_Dirty, and what its peak was above
    that. Source: proc(5), /proc/pid/smaps_rollup. Without that file, all that they hold; 0 off Linux.
    """
    return sum(map(_own_peak, pids))


def _own_peak(pid: int) -> int:
    highest, resident = _fields(Path(f"/proc/{pid}/status"), "VmHWM", "VmRSS")  # first, as it may end: both at once
    (own,) = _fields(Path(f"/proc/{pid}/smaps_rollup"), "Private_Dirty")
    return (highest or 0) if own is None else own + max(0, (highest or 0) - (resident or 0))


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
    return _field(_STATUS, "VmHWM")


def of_files() -> int:
    """Resident memory of this process that is a file's: the code of libraries above all. 0 off Linux.

    Such pages are one for all processes and may leave at any time, and how many a process has depends on what it has
    touched: one forked from a server with the libraries has none of their code at first, and each that it calls comes
    in (seen: 71 MiB for the first compilation by XLA, of 96 in all; 12 MiB for the first products in PyTorch, of 13).
    """
    return _field(_STATUS, "RssFile") or 0


def _field(path: Path, name: str) -> int | None:
    return _fields(path, name)[0]


def _fields(path: Path, *names: str) -> list[int | None]:
    """Bytes, from a file of proc(5); None where there is no such file (any more), or no such line."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in names:
                found[name] = int(value.split()[0]) * 1024
    return [found.get(name) for name in names]


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
