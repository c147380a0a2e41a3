"""Corners of the comparison that the mutation run (docs/mutation.md) found untested: bounds, places, wording."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reference import Expected, case, compare, expected, structural_fault, tolerance
from reference.statistics import (
    chernoff_rate,
    compare_stochastic,
    form_eigenvalues,
    standard_errors,
    standard_errors_allowed,
)
from reference.tolerances import FALSE_ALARM_LEVEL
from tests.naive_kernels import from_jacobians
from tests.reference.test_statistics import estimate, jacobian

LIMIT = tolerance("float64")


def unit(full: np.ndarray) -> Expected:
    """These values, with examples of kernel 1."""
    ones1, ones2 = np.ones((full.shape[0], 1, 1)), np.ones((full.shape[1], 1, 1))
    return Expected(full, ones1, ones2, "by hand")


def test_an_error_of_the_tolerance_itself_is_no_error() -> None:
    truth = unit(np.zeros((2, 3, 1, 1)))
    kernel = truth.full.copy()
    kernel[0, 0] = LIMIT
    assert compare(kernel, truth, outputs="full", dtype="float64", symmetric=False).ok
    kernel[1, 2] = 1
    reason = compare(kernel, truth, outputs="full", dtype="float64", symmetric=False).reason
    assert "at (1, 2, 0, 0)" in reason
    assert "1 of 6 entries are wrong" in reason


def test_an_error_of_no_known_kind_is_given_no_name() -> None:
    truth = expected(case("mlp_relu"))
    kernel = truth.full.copy()
    kernel[3, 1, 0, 2] += 1
    assert compare(kernel, truth, outputs="full", dtype="float64", symmetric=False).reason.endswith("are wrong")


@pytest.mark.parametrize(("below", "is_kernel"), [(0.5, True), (1.2, False)])
def test_the_smallest_eigenvalue_is_held_against_the_trace(below: float, is_kernel: bool) -> None:
    """[[1, c], [c, 1]] has the eigenvalue 1 − c and the trace 2."""
    matrix = np.ones((2, 2))
    matrix[0, 1] = matrix[1, 0] = 1 + 2 * below * LIMIT
    assert (structural_fault(matrix, "trace", "float64") == "") is is_kernel


def test_an_asymmetry_is_named_with_its_place() -> None:
    matrix = np.eye(4)
    matrix[1, 3] = 0.1
    assert "row 1 and column 3 of the matrix of shape (4, 4)" in structural_fault(matrix, "trace", "float64")


def test_the_allowance_is_bonferronis() -> None:
    assert standard_errors_allowed(5, 7) == pytest.approx(math.sqrt(2 * math.log(2 * 35 / FALSE_ALARM_LEVEL)))


@pytest.mark.parametrize("factor", [-0.9, 0.9])
def test_rounding_is_no_deviation(factor: float) -> None:
    truth = from_jacobians(jacobian(1), jacobian(2, n=3))
    rounded = truth.full + factor * LIMIT * truth.scale("full")
    assert standard_errors(rounded, truth, "full", "float64", 10**9).max() < 1e-3


def test_eigenvalues_of_small_kernels() -> None:
    """They scale with the kernel."""
    large, small = (form_eigenvalues(from_jacobians(scale * jacobian(1), jacobian(2)), "trace") for scale in (1, 1e-3))
    np.testing.assert_allclose(small, 1e-3 * large, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mu", [(0.5, -1.0), (0.25, -0.125), (3.0, 2.0)])
def test_the_rate_is_the_supremum(mu: tuple[float, float]) -> None:
    """By brute force over the tilts, for values on both sides of the mean."""
    eigenvalues, size = np.array(mu), max(map(abs, mu))
    inside = 0.5 * (1 - 1e-9)
    low = inside / min(eigenvalues.min(), -inside / 1e3)
    tilts = np.linspace(low, inside / eigenvalues.max(), 400_001)
    for value in (3 * size, eigenvalues.sum() - 0.5 * size if min(mu) < 0 else 0.5 * eigenvalues.sum()):
        psi = -0.5 * np.log1p(-2 * tilts[:, None] * eigenvalues).sum(1)
        assert chernoff_rate(eigenvalues[None], np.array([value]))[0] == pytest.approx(
            (tilts * value - psi).max(), rel=1e-3)


class TestEstimates:
    """Of a kernel with 4 and 3 examples."""

    jac1, jac2 = jacobian(1), jacobian(2, n=3)
    truth = from_jacobians(jac1, jac2)
    full = estimate(jac1, jac2, np.random.default_rng(8).standard_normal((64, jac1.shape[2])))

    def held(self, full: np.ndarray, proj_dim: int = 64):
        return compare_stochastic(full, self.truth, outputs="full", dtype="float64", symmetric=False, proj_dim=proj_dim,
                                  n_checks=10)

    def test_a_right_one_passes_with_its_error(self) -> None:
        result = self.held(self.full)
        assert result.ok
        assert result.reason == ""
        assert result.error is not None
        assert 0 < result.error < result.tolerance == standard_errors_allowed(self.full.size, 10)

    def test_the_level_is_the_callers(self) -> None:
        result = compare_stochastic(self.full, self.truth, outputs="full", dtype="float64", symmetric=False,
                                    proj_dim=64, n_checks=10, level=0.5)
        assert result.tolerance == standard_errors_allowed(self.full.size, 10, 0.5) < standard_errors_allowed(
            self.full.size, 10)

    def test_one_projection_is_enough(self) -> None:
        v = np.random.default_rng(9).standard_normal((1, self.jac1.shape[2]))
        assert self.held(estimate(self.jac1, self.jac2, v), proj_dim=1).ok

    def test_the_place_and_the_factor_are_named(self) -> None:
        spoiled = 2 * self.truth.full
        assert "the best constant factor is 2" in self.held(spoiled, proj_dim=8192).reason
        spoiled[3, 2, 1, 1] *= 9
        assert "at (3, 2, 1, 1)" in self.held(spoiled).reason

    def test_a_wrong_form_is_reported_with_the_same_allowance(self) -> None:
        result = self.held(self.full.astype(np.float32))
        assert not result.ok
        assert result.tolerance == standard_errors_allowed(self.full.size, 10)


def test_an_asymmetric_estimate_is_not_ok() -> None:
    jac = jacobian()
    full = estimate(jac, jac, np.random.default_rng(5).standard_normal((64, jac.shape[2])))
    full[0, 1, 0, 0] += 1e-3
    result = compare_stochastic(full, from_jacobians(jac, jac), outputs="full", dtype="float64", symmetric=True,
                                proj_dim=64, n_checks=1)
    assert not result.ok
    assert "not symmetric" in result.reason
