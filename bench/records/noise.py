"""Which rows were disturbed, and what a run says of the machine that it met."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.records.record import Record

DISTURBED = 0.05
"""Share of the timed calls in which the process was ready and did not run; beyond it the row is disturbed. A core of an
idle machine loses a thousandth to the kernel's own work; one that another process wants loses a half."""
SLOWED = 1.5
"""Times slower than its best: beyond it, before or after a cell, the row is disturbed too. Pieces of the probe vary by
a tenth, those of the copy by a third, where nobody else is at work."""
_MOST_WAITING = 0.99
_MOST_BELIEVED = 2.0
_BUSY_SHARE = 0.1
"""Of the rows; where more are disturbed, the run was made on a busy machine."""


def severity(record: Record) -> float:
    """How much the row was disturbed, in units of what is too much: beyond 1 it is."""
    waiting = (record.disturbance or 0.0) / DISTURBED
    slowed = ((record.machine or 1.0) - 1.0) / (SLOWED - 1.0)
    return max(waiting, slowed)


def is_disturbed(record: Record) -> bool:
    """Whether its times say less than those of a quiet machine; False where nothing is known of that."""
    return severity(record) > 1.0


def longer(record: Record) -> float:
    """The logarithm of how many times longer than undisturbed its calls took on the average, as far as it is known.

    A process that waited for a share w of the time took 1/(1 − w) times as long. The probe beside it tells of the
    moments before and after alone: of what it says, at most a factor of two is believed.
    """
    ran = 1.0 - min(record.disturbance or 0.0, _MOST_WAITING)
    slower = record.machine if record.machine is not None and record.machine > SLOWED else 1.0
    return math.log(min(slower, _MOST_BELIEVED) / ran)


@dataclass(frozen=True)
class Weather:
    """What the rows that have times tell of their machine; shares are of wall-clock time, None where not told."""

    rows: int
    disturbed: int
    known: int
    """Rows of which anything is known."""
    again: int
    """Measurements that were made again."""
    waiting: float | None
    """Share in which a process was ready and did not run: the median row's."""
    most_waiting: float | None
    slower: float | None
    """Times slower than its best the probe ran: the median row's."""

    @property
    def busy(self) -> bool:
        return self.disturbed > _BUSY_SHARE * self.rows

    def __str__(self) -> str:
        """One or two sentences, "" where nothing is known."""
        if not self.known:
            return ""
        marked = f"{self.disturbed} of {self.rows} measurements were disturbed"
        if not self.disturbed:
            return f"The machine was quiet: no measurement of {self.rows} was disturbed{self._again()}."
        kind = "The machine was busy" if self.busy else "The machine was quiet for the most part"
        return f"{kind}: {marked}{self._how()}{self._again()}. {_MEANING if self.busy else ''}".rstrip()

    def _how(self) -> str:
        parts = []
        if self.waiting is not None and self.most_waiting is not None:
            parts.append(f"in the middle one the process waited for a core in {100 * self.waiting:.0f} % of its time, "
                         f"at most in {100 * self.most_waiting:.0f} %")
        if self.slower is not None:
            parts.append(f"a fixed probe ran {self.slower:.1f} times slower than its best")
        return f" ({'; '.join(parts)})" if parts else ""

    def _again(self) -> str:
        return f"; {self.again} were made again" if self.again else ""


_MEANING = ("Times are longer than on a quiet machine, and places in the rankings are shared more widely; measure "
            "again when nothing else runs.")


def weather(records: Sequence[Record]) -> Weather:
    """Of the rows that have times."""
    rows = [record for record in records if record.samples_s]
    shares = [record.disturbance for record in rows if record.disturbance is not None]
    slower = [record.machine for record in rows if record.machine is not None]
    return Weather(
        rows=len(rows), disturbed=sum(map(is_disturbed, rows)), again=sum(record.attempts - 1 for record in rows),
        known=sum(record.disturbance is not None or record.machine is not None for record in rows),
        waiting=statistics.median(shares) if shares else None, most_waiting=max(shares, default=None),
        slower=statistics.median(slower) if slower else None)
