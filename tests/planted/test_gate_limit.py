"""The truth that limit methods are held to: it accepts the analytic kernel and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from reference import MLP, Case, Request, case, float64_expected, infinite_width, round_to_float32
from reference.arithmetic import FLOAT64
from reference.case import DType
from tests.gate import limit_rate
from tests.gate.limit import WIDTHS, averages, compare_averages, compare_limit, expected_limit, limit_cases, widened

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


def gelu_moments(own1: np.ndarray, own2: np.ndarray, cross: np.ndarray) -> Moments:
    """By quadrature: no closed form that could share a mistake with the method's. Symmetric to the last digit."""
    both = zip(_gelu_moments(own1, own2, cross), _gelu_moments(own2, own1, cross), strict=True)
    values, slopes = ((one + other) / 2 for one, other in both)
    return values, slopes


def _gelu_moments(own1: np.ndarray, own2: np.ndarray, cross: np.ndarray) -> Moments:
    """Gauss–Hermite in both variables, v = (cross/own1) u + what is independent of u."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    weights = np.multiply.outer(weights, weights) / weights.sum() ** 2
    along = cross / np.sqrt(own1)
    u = np.sqrt(own1)[..., None, None] * nodes[:, None] + np.zeros_like(cross)[..., None, None]
    v = along[..., None, None] * nodes[:, None] + np.sqrt(np.maximum(own2 - along**2, 0))[..., None, None] * nodes
    activation = FLOAT64.activations["gelu"]
    values, slopes = ((one(u) * one(v) * weights).sum((-1, -2)) for one in activation)
    return values, slopes


MOMENTS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], Moments]] = {
    "relu": relu_moments, "erf": erf_moments, "gelu": gelu_moments, "sin": sin_moments}


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
        comparison = compare_averages(spread(analytic(of), 2), of, REQUEST)
        assert comparison.ok, comparison.reason


@pytest.mark.parametrize("name", [*CASES, "limit_conv", "conv_ntk"])
def test_the_proved_kernel_is_accepted(name: str) -> None:
    """By averages of the tape's kernels, which share no formula with it, also for convolutions."""
    whole = next((one for one in limit_cases() if one.name == name), None) or case(name)
    for of in (whole, whole.with_symmetry()):
        kernel = infinite_width(of).full
        for factor, ok in ((1, True), (1.5, False)):
            assert compare_averages(factor * kernel, of, REQUEST).ok is ok
        assert compare_limit(kernel, of, REQUEST).ok


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["limit_relu", "limit_relu_no_bias", "limit_gelu", "limit_gelu_no_bias", "limit_conv"])
def test_two_percent_are_refused_by_the_proof(name: str, dtype: DType) -> None:
    of = next(one for one in limit_cases() if one.name == name)
    kernel = infinite_width(of).full
    for factor in (1.02, 0.98):
        comparison = compare_limit((factor * kernel).astype(dtype), of, Request(outputs="full", dtype=dtype))
        assert "entries are wrong" in comparison.reason


def test_only_relu_may_lose_half_its_digits() -> None:
    for name, ok in (("limit_relu", True), ("limit_erf", False)):
        off = (1 + 1e-8) * infinite_width(CASES[name]).full
        assert compare_limit(off, CASES[name], REQUEST).ok is ok


def test_where_no_closed_form_is_known_averages_are_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.gate.limit.has_limit", lambda network: False)
    of = CASES["limit_erf"]
    assert expected_limit(of).source == "averages of finite-width kernels"
    assert "finite-width kernel averages" in compare_limit(1.5 * spread(analytic(of), 2), of, REQUEST).reason


@pytest.mark.parametrize(("mistake", "wrong"), [
    ("times O", lambda of: 2 * analytic(of)),
    ("divided by O", lambda of: analytic(of) / 2),
    ("biases omitted", lambda of: analytic(of, bias=False)),
    ("a layer dropped", lambda of: analytic(of, n_layers=2)),
    ("a fifth too large", lambda of: 1.2 * analytic(of)),
])
@pytest.mark.parametrize("name", ["limit_relu", "limit_erf", "limit_sin"])
def test_another_kernel_is_refused(name: str, mistake: str, wrong: Callable[[Case], np.ndarray]) -> None:
    comparison = compare_averages(spread(wrong(CASES[name]), 2), CASES[name], REQUEST)
    assert "not the limit" in comparison.reason, mistake


def test_trace_is_the_sum_and_diagonal_is_repeated() -> None:
    of = CASES["limit_erf"]
    one = analytic(of)
    assert compare_averages(2 * one, of, Request(outputs="trace", dtype="float64")).ok
    assert not compare_averages(one, of, Request(outputs="trace", dtype="float64")).ok
    assert compare_averages(np.repeat(one[:, :, None], 2, axis=2), of, Request(outputs="diagonal", dtype="float64")).ok


def test_other_pairs_of_outputs_are_zero() -> None:
    of = CASES["limit_erf"]
    kernel = spread(analytic(of), 2)
    kernel[0, 0, 0, 1] = 1e-6
    assert "not the limit" in compare_averages(kernel, of, REQUEST).reason


def test_form_and_structure_come_with_it() -> None:
    of = CASES["limit_erf"].with_symmetry()
    kernel = spread(analytic(of), 2)
    assert "dtype float32" in compare_averages(kernel.astype(np.float32), of, REQUEST).reason
    kernel[0, 1, 0, 0] += 1e-3
    assert "not symmetric" in compare_averages(kernel, of, REQUEST).reason


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


RATE_CASES = {one.name: one for one in limit_rate.rate_cases()}


@pytest.mark.parametrize("name", RATE_CASES)
def test_averages_approach_the_analytic_kernel_as_one_over_the_width(name: str) -> None:
    assert not limit_rate.rate_fault(analytic(RATE_CASES[name]), name)


@pytest.mark.parametrize(("mistake", "wrong"), [
    ("2 % too large", lambda of: 1.02 * analytic(of)),
    ("2 % too small", lambda of: 0.98 * analytic(of)),
    ("a layer dropped", lambda of: analytic(of, n_layers=4)),
    ("biases omitted, or put in", lambda of: analytic(of, bias=not of.network.bias)),
    ("other biases", lambda of: analytic(replace(of, network=replace(of.network, b_std=0.7)))),
])
@pytest.mark.parametrize("name", ["rate_relu", "rate_erf", "rate_gelu"])
def test_a_limit_that_is_a_little_off_is_refused(name: str, mistake: str, wrong: Callable[[Case], np.ndarray]) -> None:
    assert limit_rate.rate_fault(wrong(RATE_CASES[name]), name), mistake


@pytest.mark.parametrize("name", RATE_CASES)
def test_five_percent_are_refused_in_every_case(name: str) -> None:
    for factor in (1.05, 0.95):
        assert limit_rate.rate_fault(factor * analytic(RATE_CASES[name]), name), factor


def test_a_wrong_constant_of_relu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def moments(own1: np.ndarray, own2: np.ndarray, cross: np.ndarray) -> Moments:
        values, slopes = relu_moments(own1, own2, cross)
        return values, 0.97 * slopes

    monkeypatch.setitem(MOMENTS, "relu", moments)
    assert limit_rate.rate_fault(analytic(RATE_CASES["rate_relu"]), "rate_relu")


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_another_rate_is_refused(rate: float) -> None:
    """Draws about the limit that are off as n to another power, with the noise that the true ones have."""
    name = "rate_erf"
    kernel, drawn = analytic(RATE_CASES[name]), limit_rate.draws(name)
    far = (drawn[0].mean(0) - kernel)[None] * (np.array(limit_rate.WIDTHS)[:, None, None] / 4.0) ** -rate
    moved = drawn - drawn.mean(1, keepdims=True) + (kernel + far)[:, None]
    low, high = limit_rate.rate_band(kernel, moved)
    assert low < rate < high
    assert not low - 0.1 <= 1 <= high + 0.1


@pytest.mark.parametrize("name", RATE_CASES)
def test_the_layers_formula_is_the_tapes_kernel(name: str) -> None:
    of, rng = RATE_CASES[name], np.random.default_rng(0)
    weights, biases = limit_rate.draw(of, 5, 2, rng)
    rounded = [round_to_float32(array) for array in weights], [round_to_float32(array) for array in biases]
    network = widened(of.network, 5)
    params = {f"dense{i}.weight": weight[1].T for i, weight in enumerate(rounded[0])}
    params |= {f"dense{i}.bias": bias[1, 0] for i, bias in enumerate(rounded[1])} if network.bias else {}
    tape = float64_expected(Case(name, network, {key: params[key] for key in network.param_shapes()}, of.x1),
                            range(3), range(3)).full[..., 0, 0]
    np.testing.assert_allclose(limit_rate.kernels([of], *rounded)[0, 1], tape, rtol=1e-5, atol=1e-6)
