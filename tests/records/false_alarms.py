"""How often the gate fails a right random method: whole runs simulated, and the power of its tests computed.

`nox -s false_alarms` writes `false_alarms.json`. A run is simulated by estimates drawn from the true kernels, which go
through the judging functions of tests/gate/stochastic.py; the methods that are installed are put through them as well,
with fewer seeds and on the cases that need no compilation for each seed. tests/records/test_records.py holds the record
to the code and to the cases that it was made for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
from collections import Counter
from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import impls
import reference.pooled
import reference.statistics
import tests.gate.stochastic
from reference import Case, Layered, cases, expected, seed_of
from reference.expected import Expected
from reference.pooled import compare_pooled
from reference.statistics import compare_stochastic, form_eigenvalues, standard_errors, standard_errors_allowed
from reference.store import digests
from reference.tolerances import (
    BIAS_TO_FIND,
    FALSE_ALARM_LEVEL,
    FALSE_ALARM_SHARES,
    LARGEST_OVERLAP,
    POWER,
    SLOPE_ERROR,
    false_alarm_level,
)
from tests.gate.checks import GATE_PROJ_DIM, Check, cases_for, checks
from tests.gate.stochastic import (
    Shares,
    bias_plan,
    estimate_of,
    few_cases,
    full_request,
    joint,
    joint_truth,
    judge_convergence,
    judge_entries,
    judge_seeds,
    pooled,
)
from tests.planted.stochastic import RIGHT
from tests.records.power import power, rademacher_margin
from tests.records.wishart import draw_kernels

PATH = Path(__file__).with_suffix(".json")
RUNS, METHOD_SEEDS, BATCH = 10_000, 64, 500
PARTS = ("runs", "power", "methods")

# As `reference.select_outputs`, for many kernels.
_SELECTED = {"full": "rnmab->rnmab", "diagonal": "rnmaa->rnma", "trace": "rnmaa->rnm"}

_SCREEN = 4.0
"""Standard errors, to leading order, within which no statistic can fail: `_screen_is_sound` sees to it. Only kernels
with a value further off are judged, which saves nearly all of the time and changes no verdict."""


def main(runs: int, method_seeds: int, methods: list[str], parts: Collection[str]) -> None:
    """Make these parts of the record; others are kept if the code and the cases are still those they were made for."""
    head = {"source": source_digest(), "cases": case_digests(), "versions": versions(),
            "level": FALSE_ALARM_LEVEL, "shares": dict(FALSE_ALARM_SHARES)}
    before = json.loads(PATH.read_text()) if PATH.exists() else {}
    record = {**before, **head} if all(before.get(key) == head[key] for key in head) else head
    if "runs" in parts:
        record["runs"] = whole_runs(runs)
    if "power" in parts:
        record["power"] = powers()
    if "methods" in parts:
        record["methods"] = {name: method_alarms(name, method_seeds) for name in methods}
    PATH.write_text(json.dumps(record, indent=1) + "\n")


def whole_runs(runs: int) -> dict[str, Any]:
    alarms = simulate(runs)
    in_runs = len(set().union(*alarms["runs"].values()))
    return {"seeds": [0, runs - 1], "runs": runs, "runs with an alarm": in_runs,
            "alarms by kind": {kind: len(failed) for kind, failed in alarms["runs"].items()},
            "upper bound on the probability at 95 %": clopper_pearson(in_runs, runs, 0.95),
            "upper bound on the probability at 99 %": clopper_pearson(in_runs, runs, 0.99),
            "slope": summary(alarms["slopes"]), "overlap of seeds": summary(alarms["overlaps"])}


def source_digest() -> str:
    """SHA-256 of the code that judges, and of the numbers that it judges with."""
    modules = (reference.statistics, reference.pooled, tests.gate.stochastic)
    numbers = repr((FALSE_ALARM_LEVEL, sorted(FALSE_ALARM_SHARES.items()), BIAS_TO_FIND, POWER,
                    SLOPE_ERROR, LARGEST_OVERLAP, GATE_PROJ_DIM))
    text = "".join(Path(str(module.__file__)).read_text() for module in modules) + numbers
    return hashlib.sha256(text.encode()).hexdigest()


def case_digests() -> dict[str, str]:
    return {case.name: hashlib.sha256(repr(digests(case)).encode()).hexdigest()[:16] for case in cases()}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("numpy", "jax", "equinox", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def clopper_pearson(alarms: int, runs: int, confidence: float) -> float:
    """The largest probability at which as few alarms as these are not rarer than 1 − `confidence`."""
    low, high = alarms / runs, 1.0
    for _ in range(100):
        p = (low + high) / 2
        terms = (math.lgamma(runs + 1) - math.lgamma(k + 1) - math.lgamma(runs - k + 1)
                 + k * math.log(p) + (runs - k) * math.log1p(-p) for k in range(alarms + 1))
        low, high = (p, high) if sum(map(math.exp, terms)) > 1 - confidence else (low, p)
    return high


def summary(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "standard deviation": float(values.std()),
            "smallest": float(values.min()), "largest": float(values.max())}


# --- whole runs, simulated --------------------------------------------------------------------------------------------

def simulate(runs: int, names: Collection[str] | None = None) -> dict[str, Any]:
    """Runs with one random method: which of them have an alarm, by kind of test, and the slopes and overlaps seen.

    `names` narrows the cases.
    """
    def asked_for(case: Case) -> bool:
        return names is None or case.name in names

    shares = Shares.of([RIGHT])
    failed: dict[str, set[int]] = {"entries": set(), "bias": set(), "convergence": set(), "seeds": set()}
    for check in filter(lambda check: asked_for(check.case), checks(RIGHT.name, RIGHT.kind)):
        failed["entries"] |= set(_entries(check, shares, runs))
    for case in filter(asked_for, cases_for(RIGHT.kind)):
        failed["bias"] |= set(_bias(case, shares, runs))
    slopes, overlaps = [], []
    for case in filter(asked_for, few_cases(RIGHT, "cpu")):
        for run in range(runs):
            estimate = _Simulated(np.random.default_rng([seed_of(case.name), run]))
            slope, fault = judge_convergence(estimate, case.name, 0)
            overlap, fault_of_seeds = judge_seeds(estimate, case.name, 0)
            slopes.append(slope)
            overlaps.append(overlap)
            failed["convergence"] |= {run} if fault else set()
            failed["seeds"] |= {run} if fault_of_seeds else set()
    return {"runs": failed, "slopes": np.array(slopes), "overlaps": np.array(overlaps)}


class _Simulated:
    """What `estimate_of` gives, drawn from the true kernel; the seed is that of the generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __call__(self, case: Case, proj_dim: int, seed: int) -> np.ndarray:
        return draw_kernels(joint_truth(case.name).full, proj_dim, 1, self.rng)[0]


def _batches(name: str, runs: int) -> Iterator[tuple[int, int, np.random.Generator]]:
    for first in range(0, runs, BATCH):
        yield first, min(BATCH, runs - first), np.random.default_rng([seed_of(name), first])


def _entries(check: Check, shares: Shares, runs: int) -> Iterator[int]:
    """The runs in which `test_kernel` fails."""
    case, truth = check.case, expected(check.case)
    full, n1 = joint_truth(case.name).full, len(case.x1)
    columns = slice(0, n1) if case.symmetric else slice(n1, None)
    both = full[:n1, :n1] if case.symmetric else full
    mean = truth.outputs(check.outputs)
    allowed = _SCREEN * np.sqrt(2 * (form_eigenvalues(truth, check.outputs)**2).sum(-1) / GATE_PROJ_DIM)
    limit = standard_errors_allowed(mean.size, shares.entries, false_alarm_level("entries"))
    assert _screen_is_sound(truth, check, mean, allowed, limit)
    for first, n, rng in _batches(check.id, runs):
        kernels = draw_kernels(both, GATE_PROJ_DIM, n, rng)[:, :n1, columns]
        values = np.einsum(_SELECTED[check.outputs], kernels)
        far = (np.abs(values - mean) > allowed).reshape(n, -1).any(1)
        yield from (first + int(i) for i in np.flatnonzero(far)
                    if not judge_entries(values[i].astype(check.dtype), check, shares).ok)


def _screen_is_sound(truth: Expected, check: Check, mean: np.ndarray, allowed: np.ndarray, limit: float) -> bool:
    edges = (standard_errors(mean + sign * allowed, truth, check.outputs, check.dtype, GATE_PROJ_DIM)
             for sign in (-1, 1))
    return all((edge <= limit).all() for edge in edges)


def _bias(case: Case, shares: Shares, runs: int) -> Iterator[int]:
    """The runs in which `test_unbiased` fails."""
    n_estimates, proj_dim = bias_plan(case.name, shares.bias_level)
    statistics, total = pooled(case.name), n_estimates * proj_dim
    allowed = _SCREEN * np.sqrt(2 * (statistics.eigenvalues**2).sum(-1) / total)
    for first, n, rng in _batches(case.name, runs):
        kernels = draw_kernels(joint_truth(case.name).full, total, n, rng)
        far = (np.abs(statistics.statistics(kernels) - 1) > allowed).any(1)
        yield from (first + int(i) for i in np.flatnonzero(far)
                    if not compare_pooled(kernels[i], statistics, total, shares.bias_level).ok)


# --- power ------------------------------------------------------------------------------------------------------------

def powers() -> dict[str, Any]:
    """Per case: projections, the least power over the biases of `tests.records.power`, and Rademacher's margin."""
    level, found = Shares.of([RIGHT]).bias_level, {}
    for case in cases_for(RIGHT.kind):
        n_estimates, proj_dim = bias_plan(case.name, level)
        of_bias = power(case, level)
        worst = min(of_bias, key=of_bias.__getitem__)
        found[case.name] = {"projections": n_estimates * proj_dim, "biases": len(of_bias), "where": worst,
                            "least power": of_bias[worst], "Rademacher margin": rademacher_margin(case, level)}
    return found


# --- installed methods ------------------------------------------------------------------------------------------------

def stochastic_methods() -> list[str]:
    """Those of the registry that are installed."""
    found = []
    for name in impls.names():
        try:
            if impls.load(name).kind == "stochastic":
                found.append(name)
        except impls.MethodNotInstalled:
            continue
    return found


def method_alarms(name: str, n_seeds: int) -> dict[str, Any]:
    """A method on every case that is no network of layers, seed after seed: entries and pooled statistics judged."""
    method, outcomes = impls.load(name), Counter()
    shares = Shares.of([method])
    estimate = estimate_of(method, "cpu")
    todo = [case for case in cases_for("stochastic") if not isinstance(case.network, Layered)
            and impls.unsupported(method, joint(case.name), full_request("cpu")) is None]
    for case in todo:
        for seed in range(n_seeds):
            kernel = estimate(joint(case.name), GATE_PROJ_DIM, seed)
            entries = compare_stochastic(kernel, joint_truth(case.name), outputs="full", dtype="float64",
                                         symmetric=True, proj_dim=GATE_PROJ_DIM, n_checks=shares.entries,
                                         level=false_alarm_level("entries"))
            outcomes["entries"] += not entries.ok
            outcomes["bias"] += not compare_pooled(kernel, pooled(case.name), GATE_PROJ_DIM, shares.bias_level).ok
    return {"seeds": [0, n_seeds - 1], "cases": [case.name for case in todo], "projections": GATE_PROJ_DIM,
            "estimates": n_seeds * len(todo), "alarms by kind": dict(outcomes)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="whole runs simulated")
    parser.add_argument("--method-seeds", type=int, default=METHOD_SEEDS, help="seeds of each installed method")
    parser.add_argument("--methods", nargs="*", help="these methods instead of all that are installed")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    main(arguments.runs, arguments.method_seeds,
         stochastic_methods() if arguments.methods is None else arguments.methods, arguments.parts)
