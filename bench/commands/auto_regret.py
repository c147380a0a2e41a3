"""What the choice of ``method="auto"`` costs beside the best: ``python -m bench.commands.auto_regret [PATTERN …]``.

A pattern is of FRAMEWORK/GROUP/CASE, as in ``'torch/held out/*'``.

For each case of `bench.commands.auto_cases`, framework and kind of kernel it times every exact method that works on any
function in turn, in one process on one thread, and writes the medians of their steady states beside the predictions and
the choice to bench/results/auto-cpu.json, or ``--file=PATH`` (cases that match no pattern stay as they are there).
Seconds are those of the processor; each row names the environment that it was timed in. ``--predict`` counts the work
of the rows that are there anew; ``--fit`` fits the factors of `impls.choice.costs` to the cases that are there for it
and prints them; ``--report`` prints the table.
"""

from __future__ import annotations

import fnmatch
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, replace
from itertools import product
from pathlib import Path
from typing import Any

import impls
from bench.commands import auto_cases
from bench.machine import threads
from bench.records import environment
from impls import Array
from impls.choice import auto, calibration, costs
from impls.choice.costs import Work
from impls.choice.rates import Rates
from impls.frameworks.arrays import block_until_ready
from impls.frameworks.faces import face
from impls.protocol import Framework
from reference import Case, Request
from reference.case import Outputs

PATH = Path(__file__).parents[1] / "results" / "auto-cpu.json"
FRAMEWORKS: tuple[Framework, ...] = ("torch", "jax")
KINDS: tuple[Outputs, ...] = ("full", "trace")
ROUNDS = 11
SAMPLE_S = 3e-3
"""A sample calls a method until this has passed, at least once."""
NEGLIGIBLE = 1e-4
"""A term that adds less than this share of any time is left out."""
SLOW = 5.0
"""A method that took this many times the fastest one's time is not timed again."""


def main(arguments: Sequence[str]) -> None:
    patterns = [argument for argument in arguments if not argument.startswith("--")]
    path = next((Path(a.removeprefix("--file=")) for a in arguments if a.startswith("--file=")), PATH)
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"environments": {}, "rows": []}
    rows, environments = known["rows"], known["environments"]
    if not {"--fit", "--report", "--predict"} & set(arguments):
        threads.pin(1)
        found = environment.describe_environment()
        environments[found.key] = {"machine": found.machine, "system": found.system,
                                      "versions": dict(found.versions)}
        for group, case in auto_cases.all_cases():
            for framework, outputs in product(FRAMEWORKS, KINDS):
                name = f"{framework}/{group}/{case.name}"
                if not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                    row = _row(group, case, framework, outputs) | {"environment": found.key}
                    rows = _replaced(rows, [row])
                    _write(path, rows, environments)
    if "--predict" in arguments:
        _predict(rows)
        _write(path, rows, environments)
    if "--fit" in arguments:
        _fit([row for row in rows if row["group"] in ("quick", "fitted")])
    _report(rows)


def _row(group: str, case: Case, framework: Framework, outputs: Outputs) -> dict[str, Any]:
    face(framework).set_threads(1)
    request = Request(outputs)
    facts = auto.facts_of_case(framework, case, request)
    run: dict[str, Callable[[], Array]] = {}
    refused: dict[str, str] = {}
    for name in costs.FACTORS:
        if impls.framework(name) != framework:
            continue
        method = impls.load(name)
        if (reason := impls.unsupported(method, case, request)) is not None:
            refused[name] = reason
            continue
        try:
            run[name] = method.prepare(case, request)
            block_until_ready(run[name]())
        except NotImplementedError as error:
            del run[name]
            refused[name] = str(error)
    times = _times(run)
    row = {"group": group, "case": case.name, "framework": framework, "outputs": outputs, "seconds": times,
           "rates": asdict(calibration.measure(framework, "cpu", "float32")),  # now: the machine's speed drifts
           "work": {name: asdict(costs.work(name, facts)) for name in times}, "refused": refused}
    print(_line(row), flush=True)
    return row


def _predict(rows: Sequence[dict[str, Any]]) -> None:
    cases = {(group, case.name): case for group, case in auto_cases.all_cases()}
    for row in rows:
        request = Request(row["outputs"])
        facts = auto.facts_of_case(row["framework"], cases[row["group"], row["case"]], request)
        row["work"] = {name: asdict(costs.work(name, facts)) for name in row["seconds"]}


def _times(run: Mapping[str, Callable[[], Array]]) -> dict[str, float]:
    """The median of each method's seconds, all of them timed in turn."""
    first = {name: _sample(compute, 1) for name, compute in run.items()}
    best = min(first.values())
    samples = {name: [seconds] for name, seconds in first.items()}
    timed = [name for name in run if first[name] <= SLOW * best]
    for _ in range(ROUNDS):
        gc.collect()
        for name in timed:
            samples[name].append(_sample(run[name], max(1, round(SAMPLE_S / best))))
    return {name: statistics.median(values[1:] or values) for name, values in samples.items()}


def _sample(compute: Callable[[], Array], calls: int) -> float:
    begin = time.process_time()
    for _ in range(calls):
        block_until_ready(compute())
    return (time.process_time() - begin) / calls


def terms(row: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """The seconds of each kind of work at the rates of the machine that it was timed on."""
    return {name: costs.terms(Work(**work), Rates(**row["rates"])) for name, work in row["work"].items()}


def predictions(row: Mapping[str, Any]) -> dict[str, float]:
    """With the factors as they are now."""
    return {name: costs.total(name, parts) for name, parts in terms(row).items()}


def regret(row: Mapping[str, Any]) -> tuple[str, float]:
    """The choice, and its time over that of the best."""
    predicted = predictions(row)
    choice = min(predicted, key=lambda name: auto.rank(name, predicted[name]))
    return choice, row["seconds"][choice] / min(row["seconds"].values())


def _replaced(rows: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = [_key(row) for row in new]
    return [row for row in rows if _key(row) not in keys] + new


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["group"], row["case"], row["framework"], row["outputs"]


def _write(path: Path, rows: list[dict[str, Any]], environments: Mapping[str, Any]) -> None:
    named = {name: environments[name] for name in sorted({row["environment"] for row in rows})}
    content = {"environments": named, "rows": sorted(rows, key=_key)}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _line(row: Mapping[str, Any]) -> str:
    choice, cost = regret(row)
    predicted = predictions(row)
    best = min(row["seconds"], key=row["seconds"].__getitem__)
    return (f"{row['group']:9} {row['case']:32} {row['framework']:6} {row['outputs']:6} "
            f"{row['seconds'][best] * 1e3:9.3f} ms {best:40} chosen {choice:40} {cost:5.2f} × "
            f"(predicted {predicted[choice] * 1e3:.3f} ms)")


def _report(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        print(_line(row))
    for group in sorted({row["group"] for row in rows}):
        for framework in FRAMEWORKS:
            found = [regret(row)[1] for row in rows if (row["group"], row["framework"]) == (group, framework)]
            if found:
                print(f"{group}, {framework}: {len(found)} kernels, the choice costs {statistics.median(found):.3f} × "
                      f"the best in the median, {max(found):.2f} × at worst")


def _fit(rows: Sequence[Mapping[str, Any]]) -> None:
    """Least squares of relative errors, method by method."""
    import numpy as np
    from scipy.optimize import lsq_linear

    fitted: dict[str, Work] = {}
    for name in costs.FACTORS:
        found = [(terms(row)[name], row["seconds"][name]) for row in rows if name in row["seconds"]]
        matrix = np.array([[part / seconds for part in parts] for parts, seconds in found])
        scale = np.maximum(matrix.max(0), 1e-30)  # columns of like size, or the solver stops early
        lowest = np.array(least(name, fitted))
        factors = lsq_linear(matrix / scale, np.ones(len(found)), (lowest * scale, np.inf)).x / scale
        factors = np.where((factors - lowest) * matrix.max(0) < NEGLIGIBLE, lowest, factors)
        fitted[name] = Work(*(float(f"{factor:.3g}") for factor in factors))
        errors = sorted(abs(np.log(matrix @ factors)))
        print(f'    "{name}": Work({", ".join(f"{factor:g}" for factor in astuple(fitted[name]))}),')
        print(f"    # {np.exp(errors[len(errors) // 2]):.2f} × in the median, {np.exp(errors[-1]):.2f} × at worst")


def least(name: str, fitted: Mapping[str, Work]) -> tuple[float, ...]:
    """The least factors that make sense: neural-tangents' structured derivatives pass through the network and contract
    what this project's engine does, so that they can save calls and dispatches, but no more."""
    if name != "neural_tangents.structured_derivatives":
        return astuple(Work())
    return astuple(replace(fitted["structured_jax"], calls=0.0, dispatches=0.0))


if __name__ == "__main__":
    main(sys.argv[1:])
