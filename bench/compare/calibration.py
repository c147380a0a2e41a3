"""How often the alarm of ``python -m bench compare`` is false, and what it misses: ``nox -s calibrate``.

    python -m bench.compare.calibration record FILE.jsonl --turns N [--load]    # N × 32 processes
    python -m bench.compare.calibration judge quiet=FILE.jsonl busy=FILE.jsonl   # bench/results/, docs/calibration.md

Comparisons are drawn from what was recorded as blocks of processes that followed one another, so that what drifts and
what comes in bursts stays in them: A against A from processes that were left as they are, A against B from those and
from slowed ones beside them. Which of two neighbours is A is a coin's throw, as when the tool measures.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.bank import CELLS, SLOWDOWNS, UNTOUCHED, Bank, Drawn, read
from bench.compare.calibration_page import RESULTS, write_page
from bench.compare.commits import CLOCKS, LEAST_PROCESSES, MORE
from bench.compare.judge import Contest, Process, decide, judge
from bench.machine.load import load
from reference import InputError

STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "minimum": min, "first decile": partial(np.quantile, q=0.1), "first quartile": partial(np.quantile, q=0.25),
    "median": partial(np.quantile, q=0.5), "mean": np.mean}
"""What may stand for a process's calls."""
DEFAULT = "minimum"
DRAWS = 100
"""Comparisons of each cell and kind."""
SUITES, SUITE = 200, 20
"""Suites drawn, and cells in each."""
PROCESSES = (12, 16, 24, 32)
"""A side."""
ONCE = 12
"""Processes a side by which figures and clocks are compared."""

Pair = tuple[int, int]
"""Places in the bank."""


@dataclass(frozen=True)
class Rule:
    """What is tried: the figure of a process, the clocks that are asked, the processes a side at each look."""

    by: str
    clocks: tuple[str, ...]
    n: tuple[int, ...]


def neighbours(drawn: Sequence[Drawn], cell: int, slowdown: float) -> list[list[Pair]]:
    """In the order of time. Of untouched processes two pairs a turn, each of which has no choice; else one, of the
    slowed process and any of the untouched ones of its turn."""
    found: list[list[Pair]] = []
    for turn in _turns(drawn, cell):
        untouched = [place for place in turn if drawn[place].slowdown == 0]
        if slowdown == 0:
            found += [[pair] for pair in zip(untouched[::2], untouched[1::2], strict=True)]
        else:
            slowed = next(place for place in turn if drawn[place].slowdown == slowdown)
            found.append([(place, slowed) for place in untouched])
    return found


def _turns(drawn: Sequence[Drawn], cell: int) -> Iterator[list[int]]:
    turns: dict[int, list[int]] = {}
    for place, each in enumerate(drawn):
        if each.cell == cell:
            turns.setdefault(each.turn, []).append(place)
    return (turn for turn in turns.values() if len(turn) == UNTOUCHED + len(SLOWDOWNS))


class Trial:
    """A bank on which rules are tried."""

    def __init__(self, drawn: Sequence[Drawn], seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.pairs = {(cell, slowdown): neighbours(drawn, cell, slowdown)
                      for cell in range(len(CELLS)) for slowdown in (0.0, *SLOWDOWNS)}
        self.seconds = {(by, clock): [float(statistic(getattr(each, clock))) for each in drawn]
                        for by, statistic in STATISTICS.items() for clock in ("cpu", "wall")}

    @property
    def turns(self) -> int:
        """The most processes a side."""
        return min(len(pairs) for (_, slowdown), pairs in self.pairs.items() if slowdown)

    def contest(self, rule: Rule, cell: int, slowdown: float = 0.0, multiplied: float = 0.0) -> list[Contest]:
        """Neighbours that followed one another, from anywhere in the bank, as many as at each look; B with its seconds
        multiplied, or not."""
        pairs = self.pairs[cell, slowdown]
        start = self.rng.randrange(len(pairs) - max(rule.n) + 1)
        block = [self.rng.choice(choices) for choices in pairs[start:start + max(rule.n)]]
        if not slowdown:
            block = [pair if self.rng.random() < 0.5 else pair[::-1] for pair in block]
        a, b = ([Process({clock: self.seconds[rule.by, clock][place] * factor for clock in rule.clocks})
                 for place in side] for side, factor in zip(zip(*block, strict=True), (1, 1 + multiplied), strict=True))
        return [Contest("", a[:n], b[:n], paired=True) for n in rule.n]

    def single(self, rule: Rule, slowdown: float, multiplied: float = 0.0) -> float:
        """The share of comparisons of one cell that have an alarm."""
        return statistics.fmean(_alarms([self.contest(rule, cell, slowdown, multiplied)])[0]
                                for cell in range(len(CELLS)) for _ in range(DRAWS))

    def suites(self, rule: Rule, slowdown: float) -> float:
        """The share of suites that have any alarm; where the first cell is slowed, that have one there."""
        found = [_alarms([self.contest(rule, self.rng.randrange(len(CELLS)), slowdown if place == 0 else 0.0)
                          for place in range(SUITE)]) for _ in range(SUITES)]
        return statistics.fmean(alarms[0] if slowdown else any(alarms) for alarms in found)

    def rates(self, rule: Rule) -> dict[str, Any]:
        """Of single comparisons."""
        return {"by": rule.by, "clocks": rule.clocks, "n": rule.n, "false alarms": self.single(rule, 0.0),
                "power": _by_slowdown(lambda each: self.single(rule, each)),
                "power if multiplied": _by_slowdown(lambda each: self.single(rule, 0.0, each))}

    def rates_of_suites(self, rule: Rule) -> dict[str, Any]:
        """Of `SUITE` cells together."""
        return {"by": rule.by, "clocks": rule.clocks, "n": rule.n, "false alarms": self.suites(rule, 0.0),
                "power": _by_slowdown(lambda each: self.suites(rule, each))}

    def spread(self, by: str, clock: str, cell: int) -> float:
        """Standard deviation of log(B/A) of untouched neighbours, from its quartiles."""
        first, third = np.quantile(self._logs(by, clock, cell, 0.0), (0.25, 0.75))
        return float((third - first) / 1.349)  # those of a normal distribution

    def seen(self, by: str, clock: str, cell: int, slowdown: float) -> float:
        """What was planted, as the median of neighbours has it."""
        return math.exp(statistics.median(self._logs(by, clock, cell, slowdown))) - 1

    def _logs(self, by: str, clock: str, cell: int, slowdown: float) -> list[float]:
        seconds = self.seconds[by, clock]
        return [math.log(seconds[b] / seconds[a]) for choices in self.pairs[cell, slowdown] for a, b in choices]


def _alarms(cells: Sequence[Sequence[Contest]]) -> list[bool]:
    """As the tool does: who is undecided at a look is looked at again with more processes."""
    looks, last = len(cells[0]), [contests[0] for contests in cells]
    for look in range(1, looks):
        last = [contests[look] if verdict.status == "underpowered" else earlier
                for contests, earlier, verdict in zip(cells, last, judge(last, looks=looks), strict=True)]
    return [any(each.alarm == "slower" for each in tested.values()) for tested in decide(last, looks)]


def _by_slowdown(rate: Callable[[float], float]) -> dict[str, float]:
    return {f"{each:g}": rate(each) for each in SLOWDOWNS}


def result(path: Path) -> dict[str, Any]:
    """All that is kept of a bank: where it was measured, the processes' figures, and the rates of the rules."""
    head, drawn = read(path)
    if len({each.turn for each in drawn}) < ONCE:
        raise InputError(f"{path} has fewer than {ONCE} turns: record some more")
    trial, cells = Trial(drawn), range(len(CELLS))
    tried = [Rule(by, (clock,), (ONCE,)) for by, clock in trial.seconds]
    looks = (LEAST_PROCESSES, min(MORE * LEAST_PROCESSES, trial.turns))
    tried += [Rule(DEFAULT, CLOCKS, n) for n in (*((n,) for n in PROCESSES if n <= trial.turns), looks)]
    return {"environment": head["environment"], "cells": CELLS, "loops": head["loops"], "processes": len(drawn),
            "turns": trial.turns, "load": statistics.median(each.load for each in drawn), "draws": DRAWS * len(CELLS),
            "suites": SUITES, "cells in a suite": SUITE,
            "spread": [{"by": by, "clock": clock, "cells": [trial.spread(by, clock, cell) for cell in cells]}
                       for by, clock in trial.seconds],
            "seen": _seen(trial), "single": [trial.rates(rule) for rule in tried],
            "suite": [trial.rates_of_suites(rule) for rule in tried if rule.clocks == CLOCKS],
            "figures": [_figures(each) for each in drawn]}


def _seen(trial: Trial) -> dict[str, list[float]]:
    return {f"{each:g}": [trial.seen(DEFAULT, "cpu", cell, each) for cell in range(len(CELLS))] for each in SLOWDOWNS}


def _figures(drawn: Drawn) -> list[float]:
    """Turn, cell, slow-down, then by each clock the statistics in order."""
    return [drawn.turn, drawn.cell, drawn.slowdown,
            *(float(f"{statistic(getattr(drawn, clock)):.4g}") for clock in ("cpu", "wall")
              for statistic in STATISTICS.values())]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends with status 2 and one line where a bank cannot be read or added to."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare.calibration", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="add turns to a bank")
    record.add_argument("file", type=Path)
    record.add_argument("--turns", type=int, default=60)
    record.add_argument("--load", action="store_true", help="keep every core busy meanwhile")
    judged = commands.add_parser("judge", help="try the rules on banks; write results and page")
    judged.add_argument("banks", nargs="*", metavar="NAME=FILE")
    given = parser.parse_args(arguments)
    try:
        if given.command == "record":
            _record(given.file, given.turns, given.load)
        else:
            _judge(given.banks)
    except (InputError, OSError) as error:
        parser.error(str(error))


def _judge(banks: Sequence[str]) -> None:
    for bank in banks:
        name, _, path = bank.partition("=")
        text = json.dumps(result(Path(path)), separators=(",", ":"))
        (RESULTS / f"calibration-{name}.json").write_text(text.replace("],[", "],\n[") + "\n", "utf-8")
    write_page()


def _record(path: Path, turns: int, busy: bool) -> None:
    with load() if busy else nullcontext():
        bank, begin = Bank(path), time.monotonic()
        for turn in range(turns):
            bank.add_turn(random.Random())
            print(f"turn {turn + 1} of {turns}, {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
