"""What a method does beside computing a kernel: processors used after its return, memory kept, global state changed.

It is noted in the row, and moves nobody in a ranking. One thing is charged: on one thread, a call after which other
threads or processes of it work on is as long as they do.
"""

from __future__ import annotations

import os
import statistics
import threading
from time import perf_counter, sleep  # by these names, as a method may put another clock into the module

from bench import units
from bench.machine import memory, processes
from bench.running import state

_LOOKS, _NAP_S = 5, 0.001
"""Others are said to be at work where they are in most of so many looks, one a nap: whether they run or wait for a
processor counts alike, so that a busy machine does not hide them."""
_LONGEST_S = 1.0
"""For which is waited, after a call, until they are not."""
_LEAK = 16 * 2**10
"""Bytes that a call keeps, in the median: four pages."""
_FEWEST = 6
"""Calls by which a leak is told from an allocator that fills up."""


class Conduct:
    """Follows the process that it is made in, from before the set-up on."""

    def __init__(self, threads: int) -> None:
        self._threads, self._before = threads, state.of_process()
        self._goes_on = False
        """Whether others work after a call has returned, for a while that can be waited for."""
        self._after_s: list[float] = []
        self._residents: list[int] = []

    def settle(self) -> float:
        """Seconds, after the first call, until nobody is at work any more: 0 where nobody was, where it does not end,
        and with more than one thread, as these may only wait for the next call, at work."""
        waited = self._waited()
        self._goes_on = 0 < waited < _LONGEST_S
        return waited if self._goes_on else 0.0

    def called(self) -> float:
        """The same after another call; what is there is looked for only where there was some after the first one."""
        waited = self._waited() if self._goes_on else 0.0
        return waited if waited < _LONGEST_S else 0.0

    def collected(self) -> None:
        """After a call, whose kernel is not kept."""
        self._residents.append(memory.resident())

    def noticed(self) -> str:
        """In words, "" where there is nothing."""
        if not self._after_s:
            self._waited()
        return "; ".join(filter(None, (self._used_after(), self._leaked(), *self._changed())))

    def _waited(self) -> float:
        waited = _until_quiet()
        if self._threads > 1 and waited < _LONGEST_S:
            return 0.0
        if waited:
            self._after_s.append(waited)
        return waited

    def _used_after(self) -> str:
        if not self._after_s:
            return ""
        longest = max(self._after_s)
        how_long = f"for {units.seconds(longest)}" if longest < _LONGEST_S else "for as long as was looked"
        charged = ", which is part of its time" if self._goes_on else ""
        return f"it used processors {how_long} after a call had returned{charged}"

    def _leaked(self) -> str:
        """The allocator fills up in the first calls; from the median a few large steps do not show."""
        grown = [after - before for before, after in zip(self._residents[1:], self._residents[2:], strict=False)]
        if len(grown) < _FEWEST or statistics.median(grown) < _LEAK:
            return ""
        return f"its memory grew by {units.memory(statistics.median(grown))} a call, over {len(grown)} calls"

    def _changed(self) -> list[str]:
        changed = state.differences(self._before, state.of_process())
        return [f"it changed {', '.join(changed)}"] if changed else []


def _until_quiet() -> float:
    """Seconds until others than this thread use no processor, `_LONGEST_S` at most; 0 where none does at first.

    To the first look that sees none any more, so that work is charged in full."""
    begin, busy_s, at_work = perf_counter(), 0.0, True
    while busy_s < _LONGEST_S and at_work:
        seen, at_s = [], []
        for _ in range(_LOOKS):
            seen.append(_look())
            at_s.append(perf_counter() - begin)
        at_work = sum(seen) > _LOOKS / 2
        if at_work:
            busy_s = at_s[-1]
        elif busy_s and any(seen):
            last = max(i for i, busy in enumerate(seen) if busy)
            busy_s = at_s[min(last + 1, _LOOKS - 1)]
    return min(busy_s, _LONGEST_S)


def _look() -> bool:
    """Whether another thread of this process is at work, or a process below it."""
    sleep(_NAP_S)
    here = os.getpid()
    others = processes.at_work(here) - {threading.get_native_id()}
    return bool(others) or any(map(processes.at_work, processes.below(here)))
