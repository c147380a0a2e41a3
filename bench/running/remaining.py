"""How long the rest of a run takes, from what its finished cells took.

A cell takes what its process costs whatever it computes (start, import, compiling, the check), and a number of calls.
The first is a method's own, as it was in the case of the nearest size; the time of a call grows with the size of the
case, as a power of it that the method's cases have shown so far; and how many calls there are follows from their time.
What is predicted so is put right by what finished cells, of the same case where there are any, took beside what would
have been predicted of them. Another turn takes what the ones before it took.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

from bench.records.record import Cell, Record

LEAST_POWER, MOST_POWER = 0.8, 1.1
"""Of the size. Small cases cost what calling costs, and show less growth than there will be: the least is also what is
supposed where nothing is known. Found with the rows of a quick run (bench/results/quick-cpu.json) in several orders."""
_SPAN = 4.0
"""Ratio of sizes from which on a power is fitted."""


@dataclass(frozen=True)
class Effort:
    """Of each process: calls are sampled until they have taken `steady_s` or are `most`; all ends after `limit_s`."""

    steady_s: float
    most: int
    limit_s: float

    def calling_s(self, call_s: float) -> float:
        """Of the first call's computing and the sampled ones, where one takes so long."""
        return call_s + min(self.most * call_s, max(self.steady_s, call_s))


USUAL = Effort(0.5, 30, math.inf)


@dataclass
class _Method:
    """What is known of one method."""

    calls: dict[float, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Size of the case → seconds of a call."""
    beside: dict[float, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Size of the case → seconds of a cell beside its calls; all that it took, where it made none."""
    later: Counter[bool] = field(default_factory=Counter)
    """Of later turns: how many were measured (True) and left out (False)."""

    def seconds(self, size: float, effort: Effort) -> float:
        calling = effort.calling_s(self._call_s(size)) if self.calls else 0.0
        return min(statistics.fmean(self.beside[_nearest(self.beside, size)]) + calling, effort.limit_s)

    def share(self) -> float:
        """Of later turns, those that are measured."""
        return self.later[True] / self.later.total() if self.later else 1.0

    def _call_s(self, size: float) -> float:
        """From the nearest size that was measured."""
        nearest = _nearest(self.calls, size)
        return statistics.median(self.calls[nearest]) * (size / nearest) ** self._power()

    def _power(self) -> float:
        """By least squares through the logarithms, within the limits."""
        points = [(math.log(size), math.log(statistics.median(some))) for size, some in self.calls.items()]
        if max(points)[0] - min(points)[0] < math.log(_SPAN):
            return LEAST_POWER
        slope = statistics.linear_regression(*zip(*points, strict=True)).slope
        return min(max(slope, LEAST_POWER), MOST_POWER)


def _nearest(known: Iterable[float], size: float) -> float:
    return min(known, key=lambda each: abs(math.log(each / size)))


class Remaining:
    """Of a run with these cells. `sizes` are the cases' in any unit; a case that is not in it has the size 1."""

    def __init__(self, cells: Iterable[Cell], sizes: Mapping[str, float], effort: Effort) -> None:
        self.left = [(_kind(cell), cell) for cell in cells]
        """Those that are neither finished nor skipped, each with its kind."""
        self._sizes, self._effort = sizes, effort
        self._methods: dict[str, _Method] = defaultdict(_Method)
        self._finished: list[tuple[Cell, float]] = []
        self._took: dict[str, list[float]] = defaultdict(list)
        """Of the turns of each cell."""
        self._skipped: set[str] = set()
        self._prepared: dict[str, float] = {}

    def prepared(self, case: str, seconds: float) -> None:
        """What comes before a case's cells took so long."""
        self._prepared.setdefault(case, seconds)

    def finished(self, record: Record, seconds: float) -> None:
        """One of the cells has its row, after so long."""
        kind = self._take(record.cell)
        self._finished.append((record.cell, seconds))
        method = self._methods[record.cell.method]
        calls_s = self._note_calls(method, record)
        method.beside[self._size(record.cell)].append(max(0.0, seconds - calls_s))
        turns = self._took[kind]
        turns.append(seconds)
        if len(turns) > 1:
            method.later[True] += 1

    def skipped(self, cell: Cell) -> None:
        """One of the cells needs no row, and so do all others of its kind."""
        self._skipped.add(self._take(cell))
        self._methods[cell.method].later[False] += 1

    def seconds(self) -> float | None:
        """What the rest takes; None where nothing is finished yet."""
        if not self._finished:
            return None
        again_s, anew = 0.0, defaultdict[str, float](float)
        for cell, weight, turns in self._wanted():
            if turns:
                again_s += weight * statistics.fmean(turns)
            else:
                anew[cell.case] += weight * self._predicted(cell)
        return again_s + self._corrected(anew) + self._preparing_s()

    def _take(self, cell: Cell) -> str:
        """One like it is left no more. Its kind."""
        kind = _kind(cell)
        self.left.remove((kind, cell))
        return kind

    def _corrected(self, seconds: Mapping[str, float]) -> float:
        """What is predicted of cells, by their case, times what finished ones took over what is predicted of these: of
        the same case, where it has any, else of all."""
        took, predicted = defaultdict[str, float](float), defaultdict[str, float](float)
        for cell, some in self._finished:
            took[cell.case] += some
            predicted[cell.case] += self._predicted(cell)
        of_all = _ratio(sum(took.values()), sum(predicted.values()))
        return sum(some * (_ratio(took[case], predicted[case]) if case in took else of_all)
                   for case, some in seconds.items())

    def _preparing_s(self) -> float:
        unprepared = {cell.case for _, cell in self.left} - set(self._prepared)
        return len(unprepared) * statistics.fmean(self._prepared.values()) if self._prepared else 0.0

    def _note_calls(self, method: _Method, record: Record) -> float:
        """How long they took, all in all."""
        if not record.samples_s:
            return 0.0
        call_s = statistics.median(record.samples_s)
        method.calls[self._size(record.cell)].append(call_s)
        return self._effort.calling_s(call_s)

    def _predicted(self, cell: Cell) -> float:
        known = self._methods.get(cell.method)
        if known is None or not known.beside:
            return statistics.fmean(seconds for _, seconds in self._finished)
        return known.seconds(self._size(cell), self._effort)

    def _wanted(self) -> Iterator[tuple[Cell, float, list[float]]]:
        """Each cell that is left, how probably it is measured, and the seconds of its turns so far."""
        begun = set(self._took)
        for kind, cell in self.left:
            turns = self._took.get(kind, [])
            if kind not in self._skipped:
                yield cell, 1.0 if kind not in begun or len(turns) > 1 else self._methods[cell.method].share(), turns
            begun.add(kind)

    def _size(self, cell: Cell) -> float:
        return self._sizes.get(cell.case, 1.0)


def _ratio(took: float, predicted: float) -> float:
    return took / predicted if predicted else 1.0


def _kind(cell: Cell) -> str:
    """Equal for the turns of one cell."""
    return json.dumps(asdict(cell), sort_keys=True)
