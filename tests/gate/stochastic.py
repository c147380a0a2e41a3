"""What the gate asks of every random method besides its entries, and how it judges the answers.

Four kinds of test share `FALSE_ALARM_LEVEL` (reference/tolerances.py): of entries (`test_kernel`), of bias, of the rate
of convergence, of seeds. tests/records/false_alarms.py puts a right estimator through these very functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from impls import Method, unsupported
from reference import (
    MLP,
    Case,
    Comparison,
    ConvNet,
    Expected,
    Layered,
    Request,
    expected,
    float64_expected,
    tolerance,
)
from reference.case import Device
from reference.pooled import Pooled, as_matrix, compare_pooled, projections_needed, whitener
from reference.statistics import compare_stochastic
from reference.tolerances import LARGEST_OVERLAP, SLOPE_ERROR, false_alarm_level
from tests.gate.checks import GATE_PROJ_DIM, Check, cases_for, checks, prepare

PROJ_DIMS = (64, 512, 4096, 32768)
"""Where the rate of convergence is looked at: over a factor of 512."""

FEW = 64
"""Projections where two estimates of one method are held against each other."""

# The errors of an estimate in whitened coordinates are R(R+1)/2 numbers; so many estimates are made that there are this
# many. The slope's standard error is then 0.014, a seventh of SLOPE_ERROR, and that of the overlap of two seeds 0.07, a
# seventh of LARGEST_OVERLAP (tests/records/false_alarms.json): a normal variable is so far out with probability 3e-12.
_INDEPENDENT_ERRORS = 150

_MOST_NUMBERS = 2**26
"""In the projections of one estimate: half a GiB in float64, for a method that holds them all at once."""

Estimate = Callable[[Case, int, int], np.ndarray]
"""The full float64 estimate of a case, with so many projections, from this seed."""


@dataclass(frozen=True)
class Shares:
    """How many tests a run makes of random estimates, by which its false alarms are shared out."""

    entries: int
    bias: int

    @classmethod
    def of(cls, methods: Sequence[Method]) -> Shares:
        stochastic = [method for method in methods if method.kind == "stochastic"]
        return cls(sum(len(checks(method.name, method.kind)) for method in stochastic),
                   sum(len(cases_for(method.kind)) for method in stochastic))

    @property
    def bias_level(self) -> float:
        """Of one `compare_pooled`."""
        return false_alarm_level("bias") / self.bias


def estimate_of(method: Method, device: Device, **options: Any) -> Estimate:
    """The method itself, with these options besides `proj_dim`."""
    def estimate(case: Case, proj_dim: int, seed: int) -> np.ndarray:
        request = full_request(device, proj_dim)
        return prepare(method, case, replace(request, seed=seed, options={**request.options, **options}))()

    return estimate


def judge_entries(kernel: np.ndarray, check: Check, shares: Shares) -> Comparison:
    """The verdict of `test_kernel` on a random estimate."""
    return compare_stochastic(kernel, expected(check.case), outputs=check.outputs, dtype=check.dtype,
                              symmetric=check.case.symmetric, proj_dim=GATE_PROJ_DIM, n_checks=shares.entries,
                              level=false_alarm_level("entries"))


@cache
def joint(case_name: str, kind: str = "stochastic") -> Case:
    """The case with the examples of x1 and of x2 together, and x2 = x1: more examples make sharper statistics."""
    case = next(case for case in cases_for(kind) if case.name == case_name)
    return case if case.x2 is None else replace(case, x1=np.concatenate([case.x1, case.x2]), x2=None)


@cache
def joint_truth(case_name: str) -> Expected:
    case = joint(case_name)
    return float64_expected(case, range(len(case.x1)), range(len(case.x1)))


@cache
def pooled(case_name: str) -> Pooled:
    return Pooled.of(joint_truth(case_name).full)


@cache
def bias_plan(case_name: str, level: float) -> tuple[int, int]:
    """(number of estimates, projections of each) with which a bias is found in this case with the power asked for."""
    needed = projections_needed(pooled(case_name), level)
    n_estimates = math.ceil(needed * n_params(joint(case_name)) / _MOST_NUMBERS)
    return n_estimates, math.ceil(needed / n_estimates)


def judge_bias(estimate: Estimate, case_name: str, shares: Shares, first_seed: int) -> Comparison:
    """The verdict of `test_unbiased`: `bias_plan`, each estimate from a seed of its own."""
    n_estimates, proj_dim = bias_plan(case_name, shares.bias_level)
    mean = np.mean([estimate(joint(case_name), proj_dim, first_seed + i) for i in range(n_estimates)], axis=0)
    return compare_pooled(mean, pooled(case_name), n_estimates * proj_dim, shares.bias_level)


def full_request(device: Device, proj_dim: int = FEW) -> Request:
    return Request(outputs="full", dtype="float64", device=device, options={"proj_dim": proj_dim})


def few_cases(method: Method, device: Device) -> list[Case]:
    """Of each sort of network the case of middle size, of those that the method supports."""
    request = full_request(device)
    supported = [case for case in cases_for(method.kind) if unsupported(method, case, request) is None]
    of_sort = ([case for case in supported if isinstance(case.network, sort)] for sort in (MLP, ConvNet, Layered))
    return [sorted(cases, key=n_params)[len(cases) // 2] for cases in of_sort if cases]


def n_params(case: Case) -> int:
    return sum(array.size for array in case.params.values())


@cache
def whitening(case_name: str) -> np.ndarray:
    return whitener(as_matrix(joint_truth(case_name).full))


def n_repeats(case_name: str) -> int:
    rank = whitening(case_name).shape[1]
    return math.ceil(_INDEPENDENT_ERRORS / (rank * (rank + 1) / 2))


def whitened_error(full: np.ndarray, case_name: str) -> np.ndarray:
    """Dᵀ Ĝ D − 1 with Dᵀ G D = 1: entries of variance 1/S and, on the diagonal, 2/S, whatever the case is."""
    white = whitening(case_name)
    return white.T @ as_matrix(full) @ white - np.eye(white.shape[1])


def judge_convergence(estimate: Estimate, case_name: str, first_seed: int) -> tuple[float, str]:
    """The slope of the RMS error over `PROJ_DIMS` in a log–log fit, and what is wrong with it, if anything."""
    def rms_error(proj_dim: int) -> float:
        kernels = (estimate(joint(case_name), proj_dim, first_seed + i) for i in range(n_repeats(case_name)))
        return float(np.sqrt(np.mean([np.square(whitened_error(kernel, case_name)) for kernel in kernels])))

    errors = [rms_error(proj_dim) for proj_dim in PROJ_DIMS]
    slope = float(np.polyfit(np.log(PROJ_DIMS), np.log(errors), 1)[0]) if min(errors) > 0 else -math.inf
    ok = slope <= SLOPE_ERROR - 0.5  # projections that are orthogonal, say, have an error that falls faster
    return slope, "" if ok else (
        f"the error falls with slope {slope:.3f} over proj_dim, due is −0.5 + {SLOPE_ERROR} or less: it is "
        + ", ".join(f"{error:.3g} at {proj_dim}" for error, proj_dim in zip(errors, PROJ_DIMS, strict=True)))


def judge_seeds(estimate: Estimate, case_name: str, first_seed: int) -> tuple[float, str]:
    """The correlation of the errors from seeds next to each other: the share of projections that both have."""
    errors = [whitened_error(estimate(joint(case_name), FEW, first_seed + i), case_name)
              for i in range(n_repeats(case_name) + 1)]
    if max(map(np.max, map(np.abs, errors))) <= tolerance("float64") * len(errors[0])**2:
        return 0.0, ""  # with as many orthogonal projections as parameters there is no error
    products = sum(np.vdot(one, other) for one, other in pairwise(errors))
    overlap = float(products / (np.mean([np.vdot(error, error) for error in errors]) * (len(errors) - 1)))
    ok = abs(overlap) <= LARGEST_OVERLAP
    return overlap, "" if ok else f"estimates from seeds next to each other have errors of correlation {overlap:.3f}"
