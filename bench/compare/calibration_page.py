"""docs/calibration.md and the lines of the README, made of bench/results/calibration-*.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.compare.commits import LEAST_PROCESSES, MORE
from bench.compare.judge import LEAST, SIZE
from bench.compare.statistics import FAMILY, SINGLE, processes_needed
from bench.pages import marked

ROOT = Path(__file__).parents[2]
RESULTS, PAGE, README = ROOT / "bench" / "results", ROOT / "docs" / "calibration.md", ROOT / "README.md"
POWER = {"0.1": 0.9, "0.2": 0.99}
"""Slow-down → share of those that are to be found."""

Bank = Mapping[str, Any]


def write_page() -> None:
    """Write both anew."""
    banks = {path.stem.removeprefix("calibration-"): json.loads(path.read_text("utf-8"))
             for path in sorted(RESULTS.glob("calibration-*.json"))}
    PAGE.write_text(page(banks), "utf-8")
    README.write_text(marked(README.read_text("utf-8"), "calibration", overview(banks)), "utf-8")


def overview(banks: Mapping[str, Bank]) -> str:
    """What the tool does unless told otherwise: asked, and on each machine."""
    rows = [[f"false alarms, {name}", f"≤ {_percent(most)}",
             *(_percent(share) + (" (too many)" if share > most else "")
               for share in _of_default(banks, kind, "false alarms"))]
            for name, kind, most in (("one cell", "single", SINGLE), ("a whole suite", "suite", FAMILY))]
    for slowdown in _slowdowns(banks):
        least = POWER.get(slowdown)
        rows.append([f"{_percent(float(slowdown))} slow-downs found", "–" if least is None else f"≥ {_percent(least)}",
                     *(_percent(share) + (" (too few)" if share < (least or 0.0) else "")
                       for share in _of_default(banks, "single", "power", slowdown))])
    return _table(["", "asked", *banks], rows)


def page(banks: Mapping[str, Bank]) -> str:
    """The whole page."""
    some, found = next(iter(banks.values())), _headings(banks)
    first, last = _default(some, "single")["n"]
    most = MORE * LEAST_PROCESSES
    return PAGE_TEXT.format(
        single=f"{SINGLE:g}", family=f"{FAMILY:g}", least=_percent(LEAST), size=_percent(SIZE), first=first,
        last=last if last == most else f"{last} (the tool: {most}; fewer turns were recorded)",
        machines=_table(["", *banks], _machines(banks)), cells=_cells(some), overview=overview(banks),
        slowdowns=", ".join(_percent(float(each)) for each in _slowdowns(banks)), draws=some["draws"],
        suites=some["suites"], in_a_suite=some["cells in a suite"],
        by_number=_table(["", "processes a side", "false alarms: cell", "suite", *found,
                          *(f"{each} in a suite" for each in found)], _by_number(banks)),
        paired_85=processes_needed(85, True), paired_4600=processes_needed(4600, True), seen=_seen(banks),
        multiplied=_multiplied(banks), once=_once(some),
        figures=_table(["", "figure", "clock", *(name for name, _ in some["cells"]), "false alarms", *found],
                       _figures(banks)))


PAGE_TEXT = """# How often the alarm is false, and what it misses

`python -m bench compare A B` says that a cell is slower where an exact test of processes in pairs is certain of it (p
at most {single} for the cell, {family} for all cells and both clocks together after Holm's correction) and the change
is at least {least}. This page is made by `nox -s calibrate`: that alarm, tried on what was recorded on a machine.

{machines}

A process is a fresh one from the fork server, as when commits are compared, in which one cell is called for 0.2 s on a
core (300 calls at most). A turn has, for each cell, four processes as they are and one each slowed by
{slowdowns}: by a loop of fixed length after each call, work of its own with noise of its own. The
cells are full kernels of eight digits, by MLPs of a width:
{cells}.

A comparison is drawn as a block of turns that followed one another, with pairs of processes of one turn, so that drift
and bursts stay in it; blocks overlap, so that the shares below are of fewer independent comparisons than were drawn
({draws} of single cells, {suites} suites of {in_a_suite} comparisons).

## The alarm

As the tool measures commits: {first} processes a side, and where a change of {size} can then neither be seen nor ruled
out, that cell up to {last}. Both clocks are asked, each time by the quickest call of a process. A false alarm is a
"slower" between processes that are alike.

{overview}

With other numbers of processes, all at once; alone, and as the one slowed cell in a suite:

{by_number}

Without pairs 7 processes a side can be certain in up to 85 tests, 10 in 4,600; in pairs it takes {paired_85} and
{paired_4600}, and two looks one more. The tool counts its tests (cells × clocks) and takes as many processes as they
need. What was planted, as the median of neighbours has it by the quickest call on a core: {seen}.
Of slow-downs that are only multiplied figures (A against A with B's seconds multiplied) there are found: {multiplied}.

## Which figure of a process

The spread of log(B/A) between untouched neighbours (standard deviation, from the quartiles) for each cell, and the
share of slow-downs found with {once} processes a side by one clock alone. "cpu" is the time of the process on a core,
all of its threads; "wall" is by the clock.

{figures}

What disturbs a call lengthens it and shortens none, so that the quickest of many was disturbed least; the time on a
core leaves out what the process waited for one. The quickest call is blind to what happens in some calls alone, which
`--by median` sees, and the core's clock to waiting, which the other one sees: so both are asked.

## What is not in these figures

Two commits differ in where code and data come to lie, which moves times by some percent though nobody changed anything
(Mytkowicz, Diwan, Hauswirth, Sweeney 2009, doi:10.1145/1508244.1508275): changes below {least} are no alarm. A cell
with a history of its own is held to it as well, as in rustc-perf: a change has to be beyond the third quartile of its
earlier changes and three interquartile ranges more. Cells whose processes fall into two modes are said to (false in at
most 1 % of cells of one mode, [bench/compare/modes.py](../bench/compare/modes.py)).
"""


def _machines(banks: Mapping[str, Bank]) -> list[list[str]]:
    told = [(bank["environment"], bank) for bank in banks.values()]
    return [["machine", *(environment["machine"] for environment, _ in told)],
            ["system", *(environment["system"] for environment, _ in told)],
            ["versions", *(", ".join(f"{name} {version}" for name, version in environment["versions"].items()
                                     if name in ("python", "numpy", "jax", "torch", "commit"))
                           for environment, _ in told)],
            ["processes ready or running (median)", *(f"{bank['load']:.1f}" for _, bank in told)],
            ["processes recorded", *(str(bank["processes"]) for _, bank in told)]]


def _by_number(banks: Mapping[str, Bank]) -> list[list[str]]:
    rows = []
    for name, bank in banks.items():
        for suite in bank["suite"]:
            single = next(each for each in bank["single"] if _rule(each) == _rule(suite))
            rows.append([name, " then ".join(map(str, suite["n"])), _percent(single["false alarms"]),
                         _percent(suite["false alarms"]), *map(_percent, single["power"].values()),
                         *map(_percent, suite["power"].values())])
    return rows


def _figures(banks: Mapping[str, Bank]) -> list[list[str]]:
    rows = []
    for name, bank in banks.items():
        for spread in bank["spread"]:
            rates = next(each for each in bank["single"]
                         if each["by"] == spread["by"] and list(each["clocks"]) == [spread["clock"]])
            rows.append([name, spread["by"], spread["clock"], *(f"{each:.3f}" for each in spread["cells"]),
                         _percent(rates["false alarms"]), *map(_percent, rates["power"].values())])
    return rows


def _rule(rates: Mapping[str, Any]) -> tuple[Any, ...]:
    return rates["by"], *rates["clocks"], *rates["n"]


def _default(bank: Bank, kind: str) -> Mapping[str, Any]:
    """Of the last rule, which is the tool's own."""
    return bank[kind][-1]


def _of_default(banks: Mapping[str, Bank], kind: str, *path: str) -> list[float]:
    found: list[Any] = [_default(bank, kind) for bank in banks.values()]
    for name in path:
        found = [each[name] for each in found]
    return found


def _once(bank: Bank) -> int:
    return bank["single"][0]["n"][0]


def _slowdowns(banks: Mapping[str, Bank]) -> list[str]:
    return list(next(iter(banks.values()))["seen"])


def _headings(banks: Mapping[str, Bank]) -> list[str]:
    return [f"{_percent(float(each))} found" for each in _slowdowns(banks)]


def _cells(bank: Bank) -> str:
    return ", ".join(f"`{method}` ({width})" for method, width in bank["cells"])


def _seen(banks: Mapping[str, Bank]) -> str:
    return "; ".join(f"{name}: " + ", ".join(f"{_percent(float(slowdown))} as "
                                             f"{' / '.join(_percent(each) for each in seen)}"
                                             for slowdown, seen in bank["seen"].items())
                     for name, bank in banks.items())


def _multiplied(banks: Mapping[str, Bank]) -> str:
    return "; ".join(f"{name}: " + ", ".join(f"{_percent(share)} at {_percent(float(slowdown))}" for slowdown, share in
                                             _default(bank, "single")["power if multiplied"].items())
                     for name, bank in banks.items())


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, ["---"] * len(headings), *rows])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if 0 < share < 0.0995 and round(100 * share, 1) % 1 else f"{100 * share:.0f} %"
