"""Exact laws of the pooled statistics: the probability that a bias is found; a bound for Rademacher projections."""

from __future__ import annotations

import numpy as np

from reference import Case
from reference.pooled import Pooled, as_matrix, square_root
from reference.statistics import chernoff_rate, standard_errors_allowed
from reference.tolerances import BIAS_TO_FIND
from tests.gate.stochastic import bias_plan, joint, joint_truth, pooled
from tests.planted.correct import jacobians

_BISECTIONS = 60
_N_FREQUENCIES = 1500


def acceptance(statistics: Pooled, proj_dim: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Per statistic, the smallest and the largest value that `compare_pooled` passes."""
    rate = standard_errors_allowed(len(statistics.names), 1, level)**2 / 2 / proj_dim
    return _edge(statistics.eigenvalues, rate, 0.5), _edge(statistics.eigenvalues, rate, 2.0)


def _edge(mu: np.ndarray, rate: float, far: float) -> np.ndarray:
    inside, outside = np.ones(len(mu)), np.full(len(mu), far)
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        passes = chernoff_rate(mu, middle) <= rate
        inside, outside = np.where(passes, middle, inside), np.where(passes, outside, middle)
    return inside


def distribution(mu: np.ndarray, proj_dim: int, value: float) -> float:
    """P(Q̄ ≤ value), Q̄ the mean of S copies of Σ μ_i z_i², S in the dozens or more.

    From its characteristic function (Gil-Pelaez 1951, Note on the inversion theorem).
    """
    deviation = np.sqrt(2 * (mu**2).sum() / proj_dim)
    if deviation == 0:
        return float(mu.sum() <= value)
    mu = mu[np.abs(mu) > 1e-12 * np.abs(mu).max()]
    step = 15 / deviation / _N_FREQUENCIES  # the characteristic function is about exp(−t²/2) in standard deviations
    t = (np.arange(_N_FREQUENCIES) + 0.5) * step  # the midpoint rule leaves out t = 0
    log_phi = -proj_dim / 2 * np.log(1 - 2j * t[:, None] * mu / proj_dim).sum(-1)
    return float(0.5 - (np.exp(log_phi - 1j * t * value) / t).imag.sum() * step / np.pi)


def biased_kernels(case: Case) -> dict[str, np.ndarray]:
    """True kernels of methods that are biased by `BIAS_TO_FIND`, or by no less: a factor, one output, a parameter."""
    full, scale = joint_truth(case.name).full, np.ones(joint_truth(case.name).full.shape[-1])
    kernels = {}
    for factor in (1 + BIAS_TO_FIND, 1 - BIAS_TO_FIND):
        kernels[f"factor {factor:g}"] = factor * full
        for a in range(len(scale)):
            of_output = np.where(np.arange(len(scale)) == a, np.sqrt(factor), 1.0)
            kernels[f"factor {factor:g} on output {a}"] = full * np.multiply.outer(of_output, of_output)
    for name in case.params:
        jac = jacobians(case, joint(case.name).x1, [name])
        share = np.einsum("nap,mbp->nmab", jac, jac)
        if BIAS_TO_FIND <= np.einsum("nnaa->", share) / np.einsum("nnaa->", full) < 1:
            kernels[f"without {name}"] = full - share
    dead = [a for a in range(len(scale)) if not full[..., a, a].any()]
    return {what: kernel for what, kernel in kernels.items() if not any(what.endswith(f"output {a}") for a in dead)}


def power(case: Case, level: float) -> dict[str, float]:
    """For each of `biased_kernels`: the probability that its sharpest statistic finds it, at the gate's own plan."""
    n_estimates, proj_dim = bias_plan(case.name, level)
    statistics, total = pooled(case.name), n_estimates * proj_dim
    low, high = acceptance(statistics, total, level)
    return {what: max(_found(weight, kernel, total, *edges)
                      for weight, *edges in zip(statistics.weights, low, high, strict=True))
            for what, kernel in biased_kernels(case).items()}


def _found(weight: np.ndarray, kernel: np.ndarray, proj_dim: int, low: float, high: float) -> float:
    root = square_root(as_matrix(kernel))
    mu = np.linalg.eigvalsh(root.T @ weight @ root)
    return 1 - (distribution(mu, proj_dim, high) - distribution(mu, proj_dim, low))


def rademacher_margin(case: Case, level: float) -> float:
    """The smallest ratio, over statistics and both edges of acceptance, of the exponents of the two tail bounds.

    The form v·A v with Rademacher v is tr A plus the form without A's diagonal, whose exponent is that of Gaussian v
    (see `reference.statistics`); it is at least as unlikely to be so far off where the ratio is at least 1.
    """
    n_estimates, proj_dim = bias_plan(case.name, level)
    statistics = pooled(case.name)
    jac = jacobians(case, joint(case.name).x1).reshape(statistics.weights.shape[1], -1)
    edges = np.array(acceptance(statistics, n_estimates * proj_dim, level))
    forms = [jac.T @ weight @ jac for weight in statistics.weights]
    without = np.array([np.linalg.eigvalsh(form - np.diag(np.diag(form))) for form in forms])
    totals = np.array([np.trace(form) for form in forms])
    ratios = [chernoff_rate(without, edge - totals) / chernoff_rate(statistics.eigenvalues, edge) for edge in edges]
    return float(np.min(ratios))
