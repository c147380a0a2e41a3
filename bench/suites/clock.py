"""What a call is charged on a busy machine: the time that passed, but for what its threads waited for a core.

Of twelve processes that called one kernel beside other loads on two cores, wall-clock times of the quickest call
differed by a factor 2, what is charged here by 6 %. A call that sleeps or waits for a device is charged in full.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_THREADS = Path("/proc/self/task")


def charged(action: Callable[[], object]) -> float:
    """Seconds: wall-clock time less the waiting for a core, and no less than the CPU time of all threads."""
    waited, worked, begin = _waited(), time.process_time(), time.perf_counter()
    action()
    passed, worked = time.perf_counter() - begin, time.process_time() - worked
    return min(passed, max(worked, passed - (_waited() - waited)))


def _waited() -> float:
    """Seconds that the threads of this process have been ready without a core; 0 where the kernel does not tell.

    Source: the second number of schedstat, Documentation/scheduler/sched-stats.rst of Linux.
    """
    try:
        return sum(int((thread / "schedstat").read_text().split()[1]) for thread in _THREADS.iterdir()) * 1e-9
    except (OSError, IndexError):
        return 0.0
