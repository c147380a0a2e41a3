"""How long a process was ready to run and did not: what other work on the machine takes from a measurement.

Sources: the kernel's Documentation/scheduler/sched-stats.rst (/proc/PID/task/TID/schedstat: nanoseconds on a core, and
waiting for one), proc(5) (/proc/stat: what a hypervisor took from a core), getrusage(2) (ru_nivcsw: involuntary context
switches). Linux only: elsewhere the share is None.
"""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.machine.threads import cores

_TASKS = Path("/proc/self/task")
_STAT = Path("/proc/stat")
_STEAL = 8
"""The place of stolen time among the figures of a core in /proc/stat, behind its name."""


@dataclass(frozen=True)
class Moment:
    """Seconds so far: by the clock, on cores, waiting for one (thread → seconds), taken by a hypervisor from the cores
    of this process. And its involuntary context switches."""

    clock_s: float
    ran_s: float
    waited_s: dict[str, float]
    stolen_s: float
    switches: int


class Disturbance:
    """Adds up over calls: ``begin()``, a call, ``end()``, and so on."""

    def __init__(self) -> None:
        self.switches = 0
        """Involuntary ones of all threads, in all calls."""
        self._lost_s = self._clock_s = 0.0
        self._cores = len(cores())
        self._began: Moment | None = None

    def begin(self) -> None:
        self._began = _moment()

    def end(self) -> None:
        began, ended = self._began, _moment()
        if began is not None and ended is not None:
            clock_s = ended.clock_s - began.clock_s
            self._clock_s += clock_s
            self._lost_s += lost_seconds(began, ended, self._cores)
            self.switches += ended.switches - began.switches

    @property
    def share(self) -> float | None:
        """Of the wall-clock time of the calls, that in which the process was ready and did not run; None where the
        kernel does not tell."""
        return min(1.0, self._lost_s / self._clock_s) if self._clock_s > 0 else None


def lost_seconds(began: Moment, ended: Moment, n_cores: int) -> float:
    """Between two moments. Waiting counts at most for what the process left of its cores: where its own threads are
    more than those, they wait for each other, and nobody has disturbed them."""
    clock_s = ended.clock_s - began.clock_s
    waited_s = sum(seconds - began.waited_s.get(thread, 0.0) for thread, seconds in ended.waited_s.items())
    left_s = clock_s - (ended.ran_s - began.ran_s) / n_cores
    return max(0.0, min(waited_s, left_s)) + (ended.stolen_s - began.stolen_s) / n_cores


def _moment() -> Moment | None:
    waited_s = _waited()
    if not waited_s:
        return None
    return Moment(time.perf_counter(), time.process_time(), waited_s, _stolen(),
                  resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


def _waited() -> dict[str, float]:
    found = {}
    with suppress(OSError):  # no Linux
        for thread in os.listdir(_TASKS):
            with suppress(OSError, IndexError):  # the thread is over, or the kernel keeps no such statistics
                found[thread] = int((_TASKS / thread / "schedstat").read_text().split()[1]) / 1e9
    return found


def _stolen() -> float:
    own = {f"cpu{core}" for core in cores()}
    with suppress(OSError):
        rows = [line.split() for line in _STAT.read_text().splitlines() if line.startswith("cpu")]
        ticks = sum(int(row[_STEAL]) for row in rows if row[0] in own and len(row) > _STEAL)
        return ticks / os.sysconf("SC_CLK_TCK")
    return 0.0
