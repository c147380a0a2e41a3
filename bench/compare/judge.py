"""What is said of each cell: slower, faster, the same, or that it cannot be told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.compare.modes import two_modes
from bench.compare.statistics import (
    FAMILY,
    SINGLE,
    Change,
    can_tell,
    fence,
    holm,
    paired_change,
    processes_needed,
    unpaired_change,
)

Status = Literal["broken", "slower", "disturbed", "underpowered", "same", "faster", "mended", "missing"]
REGRESSIONS: tuple[Status, ...] = ("broken", "slower")

SIZE = 0.1
"""The change that is asked about: 10 %."""
LEAST = 0.03
"""Smaller changes are never called one: where code and data come to lie in memory moves times by as much between two
builds of the same source (Mytkowicz et al., "Producing wrong data without doing anything obviously wrong!", 2009)."""


@dataclass(frozen=True)
class Process:
    """One process of one side: seconds of a call by each measure."""

    seconds: Mapping[str, float]
    longer: float = 0.0
    """By what was seen of the machine, the logarithm of how many times longer its calls took than undisturbed ones."""
    disturbed: bool = False


@dataclass(frozen=True)
class Contest:
    """The processes of both sides in one cell. In pairs, where a[i] and b[i] were measured one after the other."""

    cell: str
    a: Sequence[Process]
    b: Sequence[Process]
    paired: bool
    problem: tuple[Status, str] | None = None
    """What is said of a cell without times on both sides, and why."""
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By measure, earlier changes of this cell as ratios: of what nobody meant to change."""


@dataclass(frozen=True)
class Verdict:
    """What is said of a cell, and from what."""

    cell: str
    status: Status
    changes: Mapping[str, Change]
    """By measure; the one that decided is first."""
    p_adjusted: Mapping[str, float]
    """Of all cells and measures together."""
    remarks: tuple[str, ...] = ()

    @property
    def change(self) -> Change | None:
        """By the measure that decided."""
        return next(iter(self.changes.values()), None)


def judge(contests: Sequence[Contest], size: float = SIZE, looks: int = 1) -> list[Verdict]:
    """A verdict for each cell, all of them held to one rate of false alarms: also where cells that were undecided at
    one of so many looks were measured on. (A cell's last p is that of one of its looks: their number is a bound.)"""
    tested = decide(contests, looks)
    n_tests = sum(len(each) for each in tested)
    return [_verdict(contest, each, n_tests, size, looks) for contest, each in zip(contests, tested, strict=True)]


@dataclass(frozen=True)
class Tested:
    """One cell by one measure."""

    change: Change
    adjusted: float
    """p for all cells, measures and looks together."""
    alarm: Literal["slower", "faster"] | None


def decide(contests: Sequence[Contest], looks: int = 1) -> list[dict[str, Tested]]:
    """For each cell and measure the change, and whether it is certain, larger than layout moves it, and beyond what
    this cell has done before."""
    changes = [{} if contest.problem else _changes(contest) for contest in contests]
    places = [(place, measure) for place, each in enumerate(changes) for measure in each]
    adjusted = holm([min(1.0, looks * changes[place][measure].p) for place, measure in places])
    tested: list[dict[str, Tested]] = [{} for _ in contests]
    for (place, measure), p in zip(places, adjusted, strict=True):
        change = changes[place][measure]
        alarm = _alarm(change, looks * change.p, p, contests[place].history.get(measure, ()))
        tested[place][measure] = Tested(change, p, alarm)
    return tested


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """1 where any cell is slower or broken."""
    return int(any(verdict.status in REGRESSIONS for verdict in verdicts))


def _changes(contest: Contest) -> dict[str, Change]:
    kind = paired_change if contest.paired else unpaired_change
    return {measure: kind(_seconds(contest.a, measure), _seconds(contest.b, measure))
            for measure in contest.a[0].seconds}


def _seconds(side: Sequence[Process], measure: str) -> list[float]:
    return [each.seconds[measure] for each in side]


def _verdict(contest: Contest, tested: dict[str, Tested], n_tests: int, size: float, looks: int) -> Verdict:
    if contest.problem:
        status, reason = contest.problem
        return Verdict(contest.cell, status, {}, {}, (reason,))
    alarmed = [measure for wanted in ("slower", "faster") for measure, each in tested.items() if each.alarm == wanted]
    first = next(iter([*alarmed, *tested]))
    change, alarm = tested[first].change, tested[first].alarm
    status: Status = alarm or _undecided(change, size)
    remarks = _remarks(contest, first)
    if alarm and _of_the_machine(contest, change):
        status, remarks = "disturbed", [*remarks, "one side was disturbed by as much: measure anew"]
    if status == "underpowered":
        remarks.append(_what_would_do(change, n_tests, size, looks))
    changes = {measure: each.change for measure, each in tested.items()}
    return Verdict(contest.cell, status, {first: change} | changes,
                   {measure: each.adjusted for measure, each in tested.items()}, tuple(remarks))


def _alarm(change: Change, alone: float, adjusted: float,
           history: Sequence[float]) -> Literal["slower", "faster"] | None:
    moved = max(change.ratio, 1 / change.ratio)
    if alone > SINGLE or adjusted > FAMILY or moved < 1 + LEAST or moved <= (fence(history) or 0.0):
        return None
    return "slower" if change.ratio > 1 else "faster"


def _undecided(change: Change, size: float) -> Status:
    return "same" if 1 / (1 + size) < change.low and change.high < 1 + size else "underpowered"


def _of_the_machine(contest: Contest, change: Change) -> bool:
    """Whether one side met so much more of others' work that this alone explains the change."""
    a, b = (statistics.median(each.longer for each in side) for side in (contest.a, contest.b))
    moved, explained = math.log(change.ratio), b - a
    left = moved - explained if moved > 0 else explained - moved
    return moved * explained > 0 and left < math.log(1 + LEAST)


def _remarks(contest: Contest, measure: str) -> list[str]:
    remarks = []
    for name, side in (("A", contest.a), ("B", contest.b)):
        if modes := two_modes(_seconds(side, measure)):
            remarks.append(f"{name} has two modes, {modes[1] / modes[0]:.2f}× apart")
        if disturbed := sum(each.disturbed for each in side):
            remarks.append(f"{disturbed} of {len(side)} processes of {name} were disturbed")
    limit = fence(contest.history.get(measure, ()))
    if limit is not None:
        remarks.append(f"its history moves by up to {limit - 1:.0%}")
    return remarks


def _what_would_do(change: Change, n_tests: int, size: float, looks: int) -> str:
    n = min(change.n_a, change.n_b)
    if not can_tell(n, n_tests, change.paired, looks):
        return f"{n} processes a side can prove nothing in {n_tests} tests; " \
               f"{processes_needed(n_tests, change.paired, looks)} can"
    if not math.isfinite(change.high):
        return "too few processes for an interval"
    wide = math.log(change.high / change.low) / 2 / math.log(1 + size)
    return f"about {math.ceil(n * max(wide, 1.1)**2)} processes a side would tell {size:.0%}"


def of_calls(seconds: Sequence[float], by: str) -> float:
    """The figure of a process: its quickest call, or the median of its calls."""
    return min(seconds) if by == "minimum" else statistics.median(seconds)
