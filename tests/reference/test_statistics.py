"""The comparison of random estimates: rarely wrong about a right one, surely right about a wrong one."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from reference import Expected, InputError, cases, expected, select_outputs
from reference.case import Outputs
from reference.compare import Comparison
from reference.statistics import (
    chernoff_rate,
    compare_stochastic,
    form_eigenvalues,
    standard_errors,
    standard_errors_allowed,
)
from reference.tolerances import FALSE_ALARM_LEVEL
from tests.gate.checks import GATE_PROJ_DIM
from tests.naive_kernels import from_jacobians

P = 20
OUTPUTS = get_args(Outputs)
DISTRIBUTIONS = ("gaussian", "rademacher")


def jacobian(seed: int = 0, n: int = 4, n_outputs: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, n_outputs, P))


def draw(rng: np.random.Generator, distribution: str, proj_dim: int) -> np.ndarray:
    if distribution == "gaussian":
        return rng.standard_normal((proj_dim, P))
    return rng.choice((-1.0, 1.0), (proj_dim, P))


def estimate(jac1: np.ndarray, jac2: np.ndarray, v1: np.ndarray, v2: np.ndarray | None = None) -> np.ndarray:
    """(1/S) Σ_s (J1 v_s)(J2 v_s)ᵀ, full; `v2` None means the same projections for both."""
    left, right = jac1 @ v1.T, jac2 @ (v1 if v2 is None else v2).T
    return np.tensordot(left, right, (2, 2)).transpose(0, 2, 1, 3) / len(v1)


def symmetric_check(full: np.ndarray, truth: Expected, proj_dim: int, outputs: Outputs = "full",
                    n_checks: int = 200) -> Comparison:
    return compare_stochastic(select_outputs(full, outputs), truth, outputs=outputs, dtype="float64", symmetric=True,
                              proj_dim=proj_dim, n_checks=n_checks)


def test_eigenvalues_of_an_entry_give_the_known_mean_and_variance() -> None:
    jac1, jac2 = jacobian(1), jacobian(2, n=3)
    mu = form_eigenvalues(truth := from_jacobians(jac1, jac2), "full")
    np.testing.assert_allclose(mu.sum(-1), truth.full, atol=1e-12)
    own1, own2 = (np.einsum("naa->na", block) for block in (truth.block1, truth.block2))
    variance = truth.full**2 + np.einsum("na,mb->nmab", own1, own2)
    np.testing.assert_allclose(2 * (mu**2).sum(-1), variance, rtol=1e-12)


def test_eigenvalues_of_a_trace_are_those_of_the_form_in_parameter_space() -> None:
    jac1, jac2 = jacobian(1), jacobian(2, n=3)
    mu = form_eigenvalues(from_jacobians(jac1, jac2), "trace")
    product = jac1[2].T @ jac2[1]
    direct = np.linalg.eigvalsh((product + product.T) / 2)
    largest = direct[np.argsort(np.abs(direct))][-6:]
    np.testing.assert_allclose(mu[2, 1], np.sort(largest), atol=1e-10)


def test_rate_of_a_squared_gaussian_is_its_closed_form() -> None:
    k = np.array([0.01, 0.5, 1.0, 1.5, 40.0])
    rate = chernoff_rate(np.tile([3.0, 0.0], (5, 1)), 3.0 * k)
    np.testing.assert_allclose(rate, (k - 1 - np.log(k)) / 2, rtol=1e-9, atol=1e-12)


def test_rate_of_values_that_cannot_occur_is_huge() -> None:
    assert chernoff_rate(np.array([[1.0, 0.0]]), np.array([-0.5]))[0] > 1e3  # a square is never negative
    assert chernoff_rate(np.zeros((1, 2)), np.array([1e-9]))[0] == np.inf
    assert chernoff_rate(np.zeros((1, 2)), np.array([0.0]))[0] == 0


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_tails_are_as_light_as_the_bound_says(distribution: str, outputs: Outputs) -> None:
    jac1, jac2 = jacobian(1), jacobian(2, n=3)
    truth, rng, proj_dim, n_runs = from_jacobians(jac1, jac2), np.random.default_rng(0), 32, 600
    seen = np.array([
        standard_errors(select_outputs(estimate(jac1, jac2, draw(rng, distribution, proj_dim)), outputs), truth,
                        outputs, "float64", proj_dim) for _ in range(n_runs)])
    for z in (1.5, 2.0, 2.5, 3.0):
        assert (seen > z).mean(0).max() <= 2 * np.exp(-z**2 / 2)
    assert (seen > 1).mean() > 0.1  # and not by much: the statistic is on the scale of standard errors


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_right_estimates_pass(distribution: str) -> None:
    jac, rng, proj_dim = jacobian(), np.random.default_rng(1), 64
    truth, n_runs = from_jacobians(jac, jac), 500
    estimates = (estimate(jac, jac, draw(rng, distribution, proj_dim)) for _ in range(n_runs))
    alarms = sum(not symmetric_check(full, truth, proj_dim, n_checks=1).ok for full in estimates)
    assert alarms <= 1 + 3 * FALSE_ALARM_LEVEL * n_runs


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("factor", [1.1, 0.9, 2.0, 0.5, GATE_PROJ_DIM], ids="{:g} times".format)
def test_biased_estimates_of_the_shared_cases_fail(factor: float, outputs: Outputs) -> None:
    """A tenth of the kernel, with the gate's own numbers of projections and checks; GATE_PROJ_DIM: 1/S forgotten."""
    rng, shared = np.random.default_rng(2), [case.with_symmetry() for case in cases()]
    missed = [case.name for case in shared
              if symmetric_check(factor * wishart(expected(case), rng), expected(case), GATE_PROJ_DIM, outputs).ok]
    assert len(missed) <= (0.1 * len(shared) if 0.5 < factor < 2 else 0), missed


def wishart(truth: Expected, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian estimate of a symmetric kernel with `GATE_PROJ_DIM` projections, drawn from the kernel alone."""
    n, _, n_outputs, _ = truth.full.shape
    lengths, directions = np.linalg.eigh(truth.full.transpose(0, 2, 1, 3).reshape(n * n_outputs, n * n_outputs))
    root = directions * np.sqrt(np.maximum(lengths, 0))
    projected = root @ rng.standard_normal((n * n_outputs, GATE_PROJ_DIM))
    return (projected @ projected.T / GATE_PROJ_DIM).reshape(n, n_outputs, n, n_outputs).transpose(0, 2, 1, 3)


def test_other_projections_for_x2_fail() -> None:
    jac, rng = jacobian(), np.random.default_rng(3)
    full = estimate(jac, jac, draw(rng, "gaussian", 1024), draw(rng, "gaussian", 1024))
    assert not symmetric_check(full, from_jacobians(jac, jac), 1024).ok


def test_form_comes_first() -> None:
    jac = jacobian()
    truth, full = from_jacobians(jac, jac), estimate(jac, jac, draw(np.random.default_rng(4), "gaussian", 64))
    assert "dtype float32" in symmetric_check(full.astype(np.float32), truth, 64).reason
    assert "shape" in symmetric_check(full.transpose(0, 2, 1, 3), truth, 64).reason
    full[1, 2, 0, 0] = np.nan
    assert symmetric_check(full, truth, 64).status == "nonfinite"


def test_an_asymmetric_estimate_fails() -> None:
    jac = jacobian()
    full = estimate(jac, jac, draw(np.random.default_rng(5), "gaussian", 64))
    full[0, 1, 0, 0] += 1e-3
    assert "not symmetric" in symmetric_check(full, from_jacobians(jac, jac), 64).reason


def test_part_of_a_kernel_is_compared_by_its_examples() -> None:
    jac = jacobian(n=6)
    full = estimate(jac, jac, draw(np.random.default_rng(6), "gaussian", 64))
    few = from_jacobians(jac[[0, 5]], jac[[0, 5]])

    def compared(kernel: np.ndarray) -> Comparison:
        return compare_stochastic(kernel, few, outputs="full", dtype="float64", symmetric=True, proj_dim=64,
                                  n_checks=10, examples1=(0, 5), examples2=(0, 5), shape=full.shape)

    assert compared(full).ok
    assert "at (5, 5, " in compared(full * np.where(np.arange(6) == 5, 9, 1)[:, None, None, None]).reason


def test_a_dead_example_may_only_be_zero() -> None:
    jac = jacobian()
    jac[1] = 0
    full = estimate(jac, jac, draw(np.random.default_rng(7), "gaussian", 64))
    assert symmetric_check(full, from_jacobians(jac, jac), 64).ok
    full[1, 1, 0, 0] = 1e-6
    assert symmetric_check(full, from_jacobians(jac, jac), 64).error == np.inf


def test_more_checks_allow_a_larger_deviation() -> None:
    assert standard_errors_allowed(100, 200) > standard_errors_allowed(100, 1) > standard_errors_allowed(1, 1) > 3


def test_a_projection_dimension_that_is_none_is_refused() -> None:
    jac = jacobian()
    with pytest.raises(InputError, match="proj_dim and n_checks must be positive, got 0 and 200"):
        symmetric_check(np.zeros((4, 4, 3, 3)), from_jacobians(jac, jac), 0)
