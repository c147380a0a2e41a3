"""The truth that limit methods are held to: it accepts the analytic kernel and no other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reference import MLP, Case, Request, case
from tests.gate.limit import WIDTHS, averages, compare_limit, limit_cases, widened

Moments = tuple[np.ndarray, np.ndarray]
"""E φ(u)φ(v) and E φ'(u)φ'(v) for Gaussian u, v."""


def relu_moments(own1: np.ndarray, own2: np.ndarray, cross: np.ndarray) -> Moments:
    """Cho & Saul 2009, equations 3 and 6 (degrees 0 and 1)."""
    norms = np.sqrt(own1 * own2)
    angle = np.arccos(np.clip(cross / norms, -1, 1))
    return norms * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def erf_moments(own1: np.ndarray, own2: np.ndarray, cross: np.ndarray) -> Moments:
    """Williams 1997, equation 11, and its derivative with respect to `cross`."""
    scale = (1 + 2 * own1) * (1 + 2 * own2)
    return 2 / np.pi * np.arcsin(2 * cross / np.sqrt(scale)), 4 / np.pi / np.sqrt(scale - 4 * cross**2)


def sin_moments(own1: np.ndarray, own2: np.ndarray, cross: np.ndarray) -> Moments:
    damping = np.exp(-(own1 + own2) / 2)
    return damping * np.sinh(cross), damping * np.cosh(cross)


MOMENTS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], Moments]] = {
    "relu": relu_moments, "erf": erf_moments, "sin": sin_moments}


def analytic(of: Case, n_layers: int | None = None, bias: bool | None = None) -> np.ndarray:
    """The infinite-width kernel of one output of an MLP, (N1, N2): Jacot et al. 2018, theorem 1, layer by layer."""
    network = of.network
    assert isinstance(network, MLP)
    x = of.x1 if of.x2 is None else np.concatenate([of.x1, of.x2])
    w_var, b_var = network.W_std**2, network.b_std**2 if (network.bias if bias is None else bias) else 0.0
    covariance = w_var * x @ x.T / x.shape[1] + b_var
    tangent = covariance
    for _ in range((network.n_layers if n_layers is None else n_layers) - 1):
        own = np.diag(covariance)
        values, slopes = MOMENTS[network.activation](own[:, None], own[None, :], covariance)
        covariance = w_var * values + b_var
        tangent = covariance + tangent * w_var * slopes
    return tangent[:len(of.x1)] if of.x2 is None else tangent[:len(of.x1), len(of.x1):]


def spread(one_output: np.ndarray, n_outputs: int) -> np.ndarray:
    return one_output[:, :, None, None] * np.eye(n_outputs)


CASES = {one.name: one for one in limit_cases() if isinstance(one.network, MLP) and one.network.activation in MOMENTS}
REQUEST = Request(outputs="full", dtype="float64")


@pytest.mark.parametrize("name", CASES)
def test_the_analytic_kernel_is_accepted(name: str) -> None:
    for of in (CASES[name], CASES[name].with_symmetry()):
        comparison = compare_limit(spread(analytic(of), 2), of, REQUEST)
        assert comparison.ok, comparison.reason


@pytest.mark.parametrize(("mistake", "wrong"), [
    ("times O", lambda of: 2 * analytic(of)),
    ("divided by O", lambda of: analytic(of) / 2),
    ("biases omitted", lambda of: analytic(of, bias=False)),
    ("a layer dropped", lambda of: analytic(of, n_layers=2)),
    ("a fifth too large", lambda of: 1.2 * analytic(of)),
])
@pytest.mark.parametrize("name", ["limit_relu", "limit_erf", "limit_sin"])
def test_another_kernel_is_refused(name: str, mistake: str, wrong: Callable[[Case], np.ndarray]) -> None:
    comparison = compare_limit(spread(wrong(CASES[name]), 2), CASES[name], REQUEST)
    assert "not the limit" in comparison.reason, mistake


def test_trace_is_the_sum_and_diagonal_is_repeated() -> None:
    of = CASES["limit_erf"]
    one = analytic(of)
    assert compare_limit(2 * one, of, Request(outputs="trace", dtype="float64")).ok
    assert not compare_limit(one, of, Request(outputs="trace", dtype="float64")).ok
    assert compare_limit(np.repeat(one[:, :, None], 2, axis=2), of, Request(outputs="diagonal", dtype="float64")).ok


def test_other_pairs_of_outputs_are_zero() -> None:
    of = CASES["limit_erf"]
    kernel = spread(analytic(of), 2)
    kernel[0, 0, 0, 1] = 1e-6
    assert "not the limit" in compare_limit(kernel, of, REQUEST).reason


def test_form_and_structure_come_with_it() -> None:
    of = CASES["limit_erf"].with_symmetry()
    kernel = spread(analytic(of), 2)
    assert "dtype float32" in compare_limit(kernel.astype(np.float32), of, REQUEST).reason
    kernel[0, 1, 0, 0] += 1e-3
    assert "not symmetric" in compare_limit(kernel, of, REQUEST).reason


def test_averages_approach_the_analytic_kernel() -> None:
    """The error of the average shrinks with the width, which is what makes the analytic kernel its limit."""
    errors = np.zeros((len(CASES), len(WIDTHS)))
    for row, of in zip(errors, CASES.values(), strict=True):
        limit = analytic(Case(of.name, of.network, of.params, np.concatenate([of.x1, np.asarray(of.x2)])))
        row[:] = [np.linalg.norm(average.mean - limit) / np.linalg.norm(limit) for average in averages(of.name)]
    assert (np.diff(errors.mean(0)) < 0).all(), errors.mean(0)


def test_widening_leaves_everything_else() -> None:
    network = widened(case("conv_pool_dense").network, 7)
    assert network.param_shapes()["conv0.weight"] == (7, 1, 3, 3)
    assert network.n_outputs == 1
