"""One side of a comparison of commits: a process whose `impls` and `reference` are that commit's.

It is told a cell a line (JSON on its standard input) and answers with what a fresh process measured. The harness is
the same on both sides: that of the commit from which the comparison is started.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import impls
from bench.cells.methods import find_methods
from bench.compare.cells import Choice, sources
from bench.compare.sample import Job, sample
from bench.records.record import Cell
from bench.running.pool import Limits, Pool
from impls.frameworks.faces import LAZY_IMPORTS
from impls.registry import built_in

LIMITS = Limits(time_s=120, memory_bytes=8 * 2**30)


def main() -> None:
    """Serve on standard input and output; what anything prints goes to standard error."""
    line = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, line)


def serve(orders: TextIO, answers: TextIO) -> None:
    """Until `orders` ends. The first line is the choice of cells, answered with the kinds of the methods."""
    choice = Choice(**{name: tuple(values) for name, values in json.loads(orders.readline()).items()})
    known = {source.name: source for source in sources(choice)}
    names = [name for name in choice.methods if name in impls.names(None)]
    pool = start_pool(names)
    outcome = pool.run(LIMITS, find_methods, names, (), "cpu")
    found = outcome.answer if outcome.status == "ok" else []
    _tell(answers, {"from": str(Path(impls.__file__).parents[1]), "problem": outcome.reason,
                    "kinds": {each.name: each.kind for each in found if not each.problem},
                    "problems": {each.name: each.problem for each in found if each.problem}})
    for line in orders:
        cell = Cell(**json.loads(line))
        outcome = pool.run(LIMITS, sample, Job(cell, known[cell.case]))
        _tell(answers, outcome.answer if outcome.status == "ok" else
              {"problem": f"{outcome.status}: {outcome.reason}"})


def start_pool(names: list[str]) -> Pool:
    """One whose server has imported what these methods need."""
    modules = [(framework, module) for name, framework, module in built_in() if name in names]
    lazy = [each for framework in sorted({framework for framework, _ in modules}) for each in LAZY_IMPORTS[framework]]
    return Pool([sample.__module__, *(module for _, module in modules), *lazy], threads=1, device="cpu")


def _tell(answers: TextIO, answer: Any) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
