"""The gate's tests of random methods: right ones pass, a bias of 2 % and every other planted mistake is caught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reference import cases
from reference.pooled import Pooled, as_matrix, compare_pooled, projections_needed, square_root, whitener
from tests.gate.stochastic import (
    Shares,
    bias_plan,
    estimate_of,
    few_cases,
    joint_truth,
    judge_bias,
    judge_convergence,
    judge_seeds,
    n_repeats,
    pooled,
)
from tests.planted import stochastic as planted
from tests.planted.test_gate import ONE_CASE, run_gate
from tests.records.wishart import draw_kernels

pytest_plugins = ["pytester"]

CASE = "mlp_gelu"
SHARES = Shares(entries=3 * 240, bias=3 * 28)
"""Of a run with three random methods."""

RIGHT = [planted.RIGHT, planted.RIGHT_RADEMACHER]


def estimates(method: planted.Projections) -> Any:
    return estimate_of(method, "cpu")


@pytest.mark.parametrize("method", RIGHT, ids=lambda method: method.name)
def test_right_methods_pass(method: planted.Projections) -> None:
    comparison = judge_bias(estimates(method), CASE, SHARES, 1)
    assert comparison.ok, comparison.reason
    assert not judge_seeds(estimates(method), CASE, 1)[1]
    slope, fault = judge_convergence(estimates(method), CASE, 1)
    assert not fault
    assert slope == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize(("method", "reason"), [
    (planted.TWO_PERCENT_TOO_LARGE, "kernel is 1.0"),
    (planted.TWO_PERCENT_TOO_SMALL, "kernel is 0.9"),
    (planted.OUTPUT_0_TWO_PERCENT_TOO_LARGE, "output 0 is 1.0"),
    (planted.BIAS_LEFT_OUT, "is 0.9"),
], ids=lambda value: getattr(value, "name", ""))
def test_a_small_bias_fails_and_is_named(method: planted.Projections, reason: str) -> None:
    assert reason in judge_bias(estimates(method), CASE, SHARES, 1).reason


@pytest.mark.parametrize("method", [planted.USED_AGAIN, planted.TWENTIETH_TOO_LARGE, planted.NOT_DIVIDED],
                         ids=lambda method: method.name)
def test_an_error_that_does_not_fall_as_it_should_fails(method: planted.Projections) -> None:
    slope, fault = judge_convergence(estimates(method), CASE, 1)
    assert "slope" in fault
    assert slope > -0.4


@pytest.mark.parametrize("method", [planted.ONE_KEY_FOR_ALL, planted.SEED_PLUS_INDEX], ids=lambda method: method.name)
def test_seeds_that_share_projections_fail(method: planted.Projections) -> None:
    overlap, fault = judge_seeds(estimates(method), CASE, 1)
    assert "seeds next to each other" in fault
    assert overlap > 0.9


@pytest.mark.parametrize(("name", "reason"), [
    ("TWO_PERCENT_TOO_LARGE", "*biased: *standard errors off*"),
    ("USED_AGAIN", "*the error falls with slope *"),
    ("SEED_PLUS_INDEX", "*estimates from seeds next to each other have errors of correlation *"),
    ("BY_OUTPUTS", "*outputs=diagonal, batch_size=*error *"),
    ("OTHER_PROJECTIONS_FOR_GIVEN_X2", "*outputs=full, batch_size=None: error *"),
    ("FROM_THE_CLOCK", "*the same seed gave another kernel*"),
])
def test_the_gate_fails_and_says_why(pytester: pytest.Pytester, name: str, reason: str) -> None:
    result = run_gate(pytester, "stochastic.py", name, "-k", "test_stochastic and mlp_relu and not deep")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"E {reason}"])


def test_the_gate_passes_a_right_method(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "stochastic.py", "RIGHT_RADEMACHER", *ONE_CASE)
    assert result.ret == pytest.ExitCode.OK


def test_statistics_are_one_on_the_true_kernel() -> None:
    for case in cases():
        statistics = pooled(case.name)
        np.testing.assert_allclose(statistics.statistics(joint_truth(case.name).full), 1, rtol=1e-9)
        np.testing.assert_allclose(statistics.eigenvalues.sum(-1), 1, rtol=1e-9)


def test_names_and_weights_of_a_kernel_with_a_dead_output() -> None:
    jac = np.random.default_rng(0).standard_normal((4, 3, 20))
    jac[:, 1] = 0
    full = np.einsum("nap,mbp->nmab", jac, jac)
    statistics = Pooled.of(full)
    assert statistics.names == ("trace", "kernel", "output 0", "output 2")
    assert compare_pooled(full, statistics, 1000, 1e-3).ok
    assert Pooled.of(full[..., :1, :1]).names == ("trace", "kernel")


@pytest.mark.parametrize("factor", [1.02, 0.98])
def test_a_bias_of_two_percent_is_found_in_every_case(factor: float) -> None:
    """Of the whole kernel, and of one output: the promise is at most one miss in a hundred, in each case."""
    rng, missed = np.random.default_rng(0), []
    for case in cases():
        n_estimates, proj_dim = bias_plan(case.name, SHARES.bias_level)
        for kernel in draw_kernels(joint_truth(case.name).full, n_estimates * proj_dim, 8, rng):
            of_output = kernel.copy()
            of_output[:, :, 0] *= np.sqrt(factor)
            of_output[..., 0] *= np.sqrt(factor)
            missed += [case.name for biased in (factor * kernel, of_output)
                       if compare_pooled(biased, pooled(case.name), n_estimates * proj_dim, SHARES.bias_level).ok]
    assert len(missed) <= 8, missed  # of 448; 4.5 would be due at the power promised, the true one is higher


def test_fewer_projections_do_not_suffice() -> None:
    """The number is a bound, and not by much: with a third of it most biased kernels pass."""
    truth, statistics, rng = joint_truth("mlp_one_output").full, pooled("mlp_one_output"), np.random.default_rng(0)
    few = projections_needed(statistics, SHARES.bias_level) // 3
    passed = [compare_pooled(kernel, Pooled(("trace",), statistics.weights[:1], statistics.eigenvalues[:1]), few,
                             SHARES.bias_level).ok for kernel in 1.02 * draw_kernels(truth, few, 40, rng)]
    assert np.mean(passed) > 0.5


def test_more_power_costs_more_projections() -> None:
    needed = projections_needed(pooled(CASE), 1e-5)
    assert projections_needed(pooled(CASE), 1e-5, power=0.999) > needed
    assert projections_needed(pooled(CASE), 1e-6) > needed
    assert projections_needed(pooled(CASE), 1e-5, bias=0.01) > 3.5 * needed


def test_whitening_and_root_of_a_singular_matrix() -> None:
    jac = np.random.default_rng(0).standard_normal((6, 4))
    gram = jac @ jac.T
    white, root = whitener(gram), square_root(gram)
    assert white.shape == (6, 4)
    np.testing.assert_allclose(white.T @ gram @ white, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(root @ root.T, gram, atol=1e-12)


def test_few_cases_are_one_of_each_sort() -> None:
    assert [case.name for case in few_cases(planted.RIGHT, "cpu")] == ["mlp_relu", "conv_stride", "finer_gaussian"]
    assert n_repeats("mlp_relu") == 1
    assert n_repeats("mlp_one_output") == 6  # 28 errors each


def test_matrices_are_in_the_order_of_examples_then_outputs() -> None:
    jac = np.random.default_rng(0).standard_normal((4, 3, 20))
    flat = jac.reshape(12, 20)
    np.testing.assert_allclose(as_matrix(np.einsum("nap,mbp->nmab", jac, jac)), flat @ flat.T)
