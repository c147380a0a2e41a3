"""Two methods at the same moment, each on a core of its own: what disturbs the machine disturbs both.

Source: Bulej, Horký, Tůma, Farquet and Prokopec, "Duet Benchmarking: Improving Measurement Accuracy in the Cloud"
(ICPE 2020, doi:10.1145/3358960.3379132). The two meet before each timed call, so that their calls begin together. In
exchange they share caches and the memory's bandwidth: each is slower than alone, and their ratio is that of two which
compete. So a row of a duet says whom it was measured beside, and is ranked with that one alone.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from rich.console import Console

from bench.cells.options import Options
from bench.machine import meter
from bench.machine.threads import cores
from bench.records.record import BESIDE, Record, Send
from bench.running.measure import Job, measure
from bench.running.order import Place
from bench.running.pool import Limits, Outcome, Pool
from bench.running.progress import Progress
from bench.running.runner import Run
from reference import InputError

_PATIENCE_S = 30.0
"""How long a process waits for the other one before a call; then both go on alone."""

Pair = tuple[Place, Place]


class Duets(Run):
    """All pairs of the run's methods, in turns. Raises `InputError` where there are no two cores or methods."""

    def __init__(self, options: Options, console: Console) -> None:
        if len(cores()) < 2 or not hasattr(os, "sched_setaffinity"):
            raise InputError("--duet takes two cores to which processes can be pinned; this process has "
                             f"{len(cores())}")
        if options.threads != 1 or options.device != "cpu" or options.cluster is not None:
            raise InputError("--duet measures two processes of one thread each on the CPU of this machine: no "
                             f"--cluster, --threads {options.threads} or --device {options.device}")
        super().__init__(options, console)
        self._pairs = pairs(self.places)
        if not self._pairs:
            raise InputError("--duet takes two methods at least; name them after --methods")
        self.places = [place for pair in self._pairs for place in pair]

    def _measure_places(self, places: Sequence[Place], found: Outcome, progress: Progress) -> None:
        left = {place.key for place in places}
        for pair in self._pairs:
            if any(place.key in left for place in pair):
                progress.begin(pair[0].cell)
                for place, record in zip(pair, self._rows_of(pair, found), strict=True):
                    self._written.append(self.store.add(record))
                    if place.key in left:
                        progress.finish(record)

    def _rows_of(self, pair: Pair, found: Outcome) -> list[Record]:
        meeting = multiprocessing.get_context("forkserver").Barrier(2)
        with ThreadPoolExecutor(len(pair)) as threads:
            rows = [threads.submit(replace(self.measuring, pool=_OnCore(self.pool, core, meeting)).row, place, found)
                    for place, core in zip(pair, cores(), strict=False)]
            return [row.result() for row in rows]


@dataclass(frozen=True)
class _OnCore:
    """A pool whose processes do `beside`."""

    pool: Pool
    core: int
    meeting: Any

    def run(self, limits: Limits, task: Callable[..., Any], job: Job) -> Outcome:
        return self.pool.run(limits, beside, job, self.core, self.meeting)


def pairs(places: Sequence[Place]) -> list[Pair]:
    """Of what is measured in one turn each two, marked with each other."""
    turns: dict[tuple[str, str, str, int], list[Place]] = defaultdict(list)
    for place in places:
        turns[place.cell.case, place.cell.outputs, place.cell.dtype, place.replicate].append(place)
    return [(_beside(one, other), _beside(other, one))
            for turn in turns.values() for one, other in combinations(turn, 2)]


def _beside(place: Place, other: Place) -> Place:
    return replace(place, cell=replace(place.cell, options=place.cell.options | {BESIDE: other.cell.method}))


def beside(send: Send, job: Job, core: int, meeting: Any) -> dict[str, Any]:
    """`measure` on that core; before each timed call it waits for the other process, while that is there."""
    os.sched_setaffinity(0, {core})

    def meet() -> None:
        try:
            meeting.wait(_PATIENCE_S)
        except threading.BrokenBarrierError:  # the other one has finished or failed
            return

    meter.wait_before_call = meet
    try:
        return measure(send, job)
    finally:
        meeting.abort()
