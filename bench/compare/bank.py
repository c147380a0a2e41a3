"""Processes of a few cells recorded one after the other, slowed down by known amounts or not: what alarms are tried on.

A turn has, for each cell in turn, `UNTOUCHED` processes as they are and one for each of `SLOWDOWNS`, in random order;
its lines are added to a file. A slow-down is a loop of a fixed number of turns
after each call, within what is timed: work of its own with noise of its own, and not a figure multiplied.
"""

from __future__ import annotations

import json
import os
import random
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.cells.cases import CaseSource
from bench.compare.cells import Choice, sources
from bench.compare.sample import Job, sample
from bench.compare.side import LIMITS, start_pool
from bench.records.environment import describe_environment
from bench.records.record import Cell
from reference import InputError

SLOWDOWNS = (0.05, 0.1, 0.2, 0.5)
UNTOUCHED = 4
CELLS = (("structured_torch", 64), ("explicit_mlp", 256), ("torch_func.jacobian_contraction", 64),
         ("structured_jax", 64))
"""Method and width: calls of 0.1 to 4 ms, both frameworks; small, as noise is largest there."""
FINDING = 7
"""Processes of each cell in which the loop's speed beside a call's is found, once."""
FIRST = 20_000
"""Turns of the loop from which its speed is found."""


@dataclass(frozen=True)
class Drawn:
    """One process of the bank. Seconds of each call."""

    turn: int
    cell: int
    """Its place in `CELLS`."""
    slowdown: float
    load: float
    """Processes that were ready or running, the mean of the last minute."""
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    disturbance: float | None
    """Share of the time of all calls in which the process was ready and did not run."""


def read(path: Path) -> tuple[dict[str, Any], list[Drawn]]:
    """What stands at the head of the bank (environment, turns of the loop), and its processes."""
    head, *lines = map(json.loads, path.read_text("utf-8").splitlines())
    return head, [Drawn(**line | {name: tuple(line[name]) for name in ("wall", "cpu")}) for line in lines]


class Bank:
    """A file that grows by turns."""

    def __init__(self, path: Path) -> None:
        self.path, self.pool = path, start_pool([method for method, _ in CELLS])
        self.cases = cases()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            head = {"environment": asdict(describe_environment()), "loops": self._loops()}
            path.write_text(json.dumps(head) + "\n", "utf-8")
        head, drawn = read(path)
        if head["environment"]["key"] != describe_environment().key:
            raise InputError(f"{path} was recorded on another machine or with other versions; give another file")
        self._planted = head["loops"]
        self._next = 1 + max((each.turn for each in drawn), default=-1)

    def add_turn(self, rng: random.Random) -> None:
        """Measure one turn and write it, all of it or nothing."""
        lines = []
        for place in range(len(CELLS)):
            slowdowns = [0.0] * UNTOUCHED + list(SLOWDOWNS)
            rng.shuffle(slowdowns)
            for slowdown in slowdowns:
                answer = self._sample(place, round(slowdown * self._planted[place]))
                lines.append({"turn": self._next, "cell": place, "slowdown": slowdown,
                              "load": round(os.getloadavg()[0], 2), **answer})
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        self._next += 1

    def _loops(self) -> list[int]:
        """For each cell the turns of the loop that take as long as a call: found where it follows one, since there it
        takes longer than in a loop of its own; by the quickest calls."""
        found = []
        for place in range(len(CELLS)):
            turns = FIRST
            for _ in range(2):
                pairs = [[min(self._sample(place, each)["cpu"]) for each in (0, turns)] for _ in range(FINDING)]
                bare, slowed = map(statistics.median, zip(*pairs, strict=True))
                turns = round(turns * bare / max(slowed - bare, 0.02 * bare))
            found.append(turns)
        return found

    def _sample(self, place: int, planted: int) -> dict[str, Any]:
        method, width = CELLS[place]
        source = self.cases[width]
        outcome = self.pool.run(LIMITS, sample, Job(Cell(method, source.name), source, planted=planted))
        if outcome.status != "ok" or "unsupported" in outcome.answer:
            raise InputError(f"{method} was not measured: {outcome.reason or outcome.answer}")
        return {name: [float(f"{each:.5g}") for each in outcome.answer[name]] for name in ("wall", "cpu")} | {
            "disturbance": outcome.answer["disturbance"]}


def cases() -> dict[int, CaseSource]:
    """The cases by width: MLPs on eight digits."""
    widths = tuple(sorted({width for _, width in CELLS}))
    return dict(zip(widths, sources(Choice((), widths=widths)), strict=True))
