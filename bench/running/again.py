"""Measuring again what others have disturbed, within a budget; and the machine before, between and after the cells.

The least disturbed of a cell's measurements is kept, whatever its time: to keep the quickest would favour methods whose
time varies. One that fails is kept, however: what goes wrong one time in two is not right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from bench.machine.probe import Probe, Reading
from bench.records.noise import is_disturbed, severity
from bench.records.record import Record

MOST_ATTEMPTS = 3
_FRESH_S = 1.0
"""Age up to which a reading after one cell is the one before the next."""
_UNMEASURED = ("unsupported", "not_installed")


class Attempts:
    """Of one run. `share` of the time that its cells take may go into measuring some of them again; `best` is what the
    probe has ever done on this machine, None the first time; `note` is told each reading."""

    def __init__(self, probe: Probe, share: float, best: Reading | None, note: Callable[[Reading], None]) -> None:
        self._probe, self._share, self._best, self._note = probe, share, best, note
        self._last: tuple[float, Reading] | None = None
        self._first_s = self._again_s = 0.0
        self.again = self.disturbed = self.left = 0
        """Measurements made again; cells that were disturbed at first; those that are still."""

    def measured(self, measure: Callable[[], Record]) -> Record:
        """What ``measure()`` gives, with the state of the machine around it; the least disturbed of some, where
        the first one was disturbed."""
        kept, seconds = self._once(measure)
        self._first_s += seconds
        self.disturbed += is_disturbed(kept)
        attempts = 1
        while self._worth(kept) and attempts < MOST_ATTEMPTS and self._affordable(seconds):
            another, seconds = self._once(measure)
            self._again_s += seconds
            attempts += 1
            kept = min(kept, another, key=lambda record: (record.status == "ok", severity(record)))
        self.again += attempts - 1
        self.left += is_disturbed(kept)
        return replace(kept, attempts=attempts)

    def __str__(self) -> str:
        """What came of it, "" where no cell was disturbed."""
        if not self.disturbed:
            return ""
        return (f"{self.disturbed} measurements were disturbed by other work on this machine; {self.again} were made "
                f"again in {self._again_s:.0f} s (--again {self._share:g} allows {self._share * self._first_s:.0f} s); "
                f"{self.left} stay marked")

    def _once(self, measure: Callable[[], Record]) -> tuple[Record, float]:
        before = self._fresh()
        began = time.monotonic()
        record = measure()
        seconds = time.monotonic() - began
        if record.status in _UNMEASURED:
            return record, seconds
        after = self._take()
        best = after.best_of(self._best)
        return replace(record, machine=max(before.slower_than(best), after.slower_than(best))), seconds

    def _fresh(self) -> Reading:
        if self._last is not None and time.monotonic() - self._last[0] < _FRESH_S:
            return self._last[1]
        return self._take()

    def _take(self) -> Reading:
        reading = self._probe.take()
        self._best = reading.best_of(self._best)
        self._last = time.monotonic(), reading
        self._note(reading)
        return reading

    def _worth(self, record: Record) -> bool:
        return record.status == "ok" and is_disturbed(record)

    def _affordable(self, seconds: float) -> bool:
        return self._again_s + seconds <= self._share * self._first_s
