"""How often a ranking tells two names of one method apart: on this machine as it is, and beside a load on every core.

    python -m bench.commands.two_names quiet             # while nothing else runs
    python -m bench.commands.two_names busy              # starts a load of its own
    python -m bench.commands.two_names show

Each method is measured with a twin (`bench.cells.twins`) as a run measures any two. In a cell of one method the two
"share" where they are not told apart among all that were measured there. The file keeps every process's time, by which
the rule that stands in `bench.report.ranking` is judged anew whenever that is asked for; docs/noise.md shows it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cells import twins
from bench.cells.options import Options
from bench.machine.load import load
from bench.records.noise import longer, weather
from bench.records.record import Record
from bench.report.ranking import Process, Turns, compared, usual_variance
from bench.running.runner import Run

RESULTS = Path(__file__).resolve().parents[1] / "results" / "two_names.json"
METHODS = ("structured_torch", "structured_jax", "torch_func.jacobian_contraction", "torch_func.ntk_vector_products",
           "explicit_mlp")
SHARED = 0.99
"""Of the cells: what is asked of the ranking."""
_CASES = {"cases": ("digits-mlp-*",), "widths": (16, 64, 128), "batch": (4, 8, 16), "replicates": 3, "steady": 0.2}

Times = Mapping[str, Turns]
"""Of one cell's methods, by name."""


@dataclass(frozen=True)
class Count:
    """From so many processes of each method."""

    processes: int
    cells: int
    """Each of one method and its twin."""
    shared: int
    others: int
    """Pairs of different methods."""
    told: int
    """Of those: told apart."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Status 1 where fewer cells are shared than is asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.commands.two_names",
                                     description="How often a ranking tells two names of one method apart.")
    parser.add_argument("state", choices=("quiet", "busy", "show"), help="of the machine, or only what is kept")
    parser.add_argument("--file", type=Path, default=RESULTS, help="what is kept")
    parser.add_argument("--out", type=Path, help="folder of the rows, to go on with; a temporary one, unless given")
    given = parser.parse_args(arguments)
    kept = json.loads(given.file.read_text("utf-8")) if given.file.exists() else {}
    if given.state != "show":
        with nullcontext(given.out) if given.out else _temporary() as folder:
            kept[given.state] = measured(folder, given.state == "busy", METHODS, _CASES)
        given.file.write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(table(kept))
    return 0 if all(count.shared >= SHARED * count.cells for half in kept.values() for count in counts(half)) else 1


def measured(folder: Path, busy: bool, methods: Sequence[str], cases: Mapping[str, Any]) -> dict[str, Any]:
    """Every process's seconds, and how much longer it took for being disturbed, by case and name; in turns."""
    impl = tuple(f"{twins.__file__}:{name}" for name in methods)
    with load() if busy else nullcontext():
        run = Run(Options(methods=tuple(methods), impl=impl, out=folder, **cases), Console())
        run.measure()
    records = [record for record in run.records() if record.status == "ok" and record.samples_s]
    machine = run.environment
    return {"machine": machine.machine, "system": machine.system, "commit": machine.versions.get("commit", ""),
            "weather": str(weather(records)), "cells": _kept(records)}


def counts(half: Mapping[str, Any]) -> list[Count]:
    """What the rule makes of one half: from one process of each method, from two, … to all."""
    found = [_times(cell) for cell in half["cells"].values()]
    most = max(len(turns) for times in found for turns in times.values())
    return [_counted([{name: {turn: each for turn, each in turns.items() if turn < n} for name, turns in times.items()}
                      for times in found], n) for n in range(1, most + 1)]


def table(kept: Mapping[str, Any]) -> str:
    """Of both halves, in Markdown."""
    lines = ["| machine | processes | cells of one method | share the place | other pairs | told apart |",
             "|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {state} | {each.processes} | {each.cells} | {100 * each.shared / each.cells:.1f} % | {each.others} | "
              f"{100 * each.told / each.others:.0f} % |" for state, half in kept.items() for each in counts(half)]
    return "\n".join([*lines, "", *(f"{state}: {half['machine']}. {half['weather']}" for state, half in kept.items())])


def _counted(found: Sequence[Times], n: int) -> Count:
    usual = usual_variance(found)
    same, others = [], []
    for times in found:
        pairs = comb(len(times), 2)
        for one, other in combinations(times, 2):
            told = compared(times[one], times[other], pairs, usual) != 0
            (same if _method(one) == _method(other) else others).append(told)
    return Count(n, len(same), len(same) - sum(same), len(others), sum(others))


def _method(name: str) -> str:
    return name.removesuffix(twins.SUFFIX)


def _kept(records: Sequence[Record]) -> dict[str, dict[str, dict[int, list[float]]]]:
    found: dict[str, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        seconds = statistics.median(record.samples_s)
        found[record.cell.case][record.cell.method][record.replicate] = [
            float(f"{seconds:.4g}"), round(longer(record), 3)]
    return found


def _times(cell: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[int, Process]]:
    return {name: {int(turn): Process(*each) for turn, each in turns.items()} for name, turns in cell.items()}


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main())
