"""`equinox.monte_carlo`: unbiased, repeatable, one set of projections; the gate holds it to all cases besides."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")

import jax
import jax.numpy as jnp

from impls import load
from impls.frameworks.arrays import to_numpy
from reference import Case, Expected, InputError, Request, case, expected
from reference.case import DType, Outputs
from reference.statistics import compare_stochastic
from tests.gate.stochastic import Shares, estimate_of, judge_bias
from tests.naive_kernels import assert_right, jax_expected

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

METHOD: Any = load("equinox.monte_carlo")
PROJ_DIM = 130  # not a multiple of the projections that are pushed through the network together


def kernel(of_case: Case, *, proj_dim: int = PROJ_DIM, distribution: str = "gaussian", **request: Any) -> np.ndarray:
    options = {"proj_dim": proj_dim, "distribution": distribution}
    return to_numpy(METHOD.prepare(of_case, Request(options=options, **request))())


def as_truth(estimate: np.ndarray, of_case: Case) -> Expected:
    """For an agreement to rounding with another full estimate; errors are scaled by the proved diagonal as ever."""
    proved = expected(of_case)
    return Expected(estimate.astype(np.float64), proved.block1, proved.block2, "another estimate")


@pytest.mark.parametrize("distribution", ["gaussian", "rademacher"])
@pytest.mark.parametrize("outputs", get_args(Outputs))
def test_unbiased(outputs: Outputs, distribution: str) -> None:
    of_case, proj_dim = case("mlp_tanh_ntk"), 4096
    estimate = kernel(of_case, proj_dim=proj_dim, distribution=distribution, outputs=outputs)
    result = compare_stochastic(estimate, expected(of_case), outputs=outputs, dtype="float32", symmetric=False,
                                proj_dim=proj_dim, n_checks=1000)
    assert result.ok, result.reason


# What the gate asks of the default, Gaussian projections, is asked here of the others.


def test_free_of_a_bias_of_two_percent() -> None:
    estimate = estimate_of(METHOD, "cpu", distribution="rademacher")
    comparison = judge_bias(estimate, "mlp_gelu", Shares.of([METHOD]), 1)
    assert comparison.ok, comparison.reason


def test_one_parameter_is_exact_with_rademacher_projections() -> None:
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 1)), "float32")
    estimate = METHOD.kernel(lambda a, x: jnp.sin(a * x), jnp.float32(0.8), x, None,
                             Request(options={"proj_dim": 1, "distribution": "rademacher"}))
    truth = jax_expected(lambda a, x: jnp.sin(a * x), jnp.float32(0.8), np.asarray(x), None)
    assert_right(estimate, truth, "float32", symmetric=True)


@pytest.mark.parametrize("dtype", get_args(DType))
def test_seed_decides_the_projections(dtype: DType) -> None:
    first, again, other = (kernel(case("mlp_gelu"), dtype=dtype, distribution="rademacher", seed=seed)
                           for seed in (5, 5, 6))
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, again)
    assert (np.abs(first - other) > 0).all()


def test_batch_size_changes_nothing() -> None:
    of_case = case("conv_stride")
    unblocked, *blocked = (kernel(of_case, dtype="float64", distribution="rademacher", batch_size=size)
                           for size in (None, 1, 100))
    for estimate in blocked:
        assert_right(estimate, as_truth(unblocked, of_case), "float64")


@pytest.mark.parametrize("outputs", ["diagonal", "trace"])
def test_parts_of_the_full_estimate(outputs: Outputs) -> None:
    of_case = case("mlp_gelu")
    assert_right(kernel(of_case, outputs=outputs), as_truth(kernel(of_case), of_case), "float32", outputs)


def test_one_set_of_projections_for_x1_and_x2() -> None:
    """K(x, x) estimated with x2 given is K(x, x) estimated without; with two sets it would not be symmetric."""
    of_case = case("mlp_gelu").with_symmetry()
    f_and_params = (lambda params, x: jnp.tanh(x @ params), jnp.ones((of_case.x1.shape[1], 3)) / 3)
    x = jnp.asarray(of_case.x1, "float32")
    given, left_out = (np.asarray(METHOD.kernel(*f_and_params, x, x2, Request())) for x2 in (x, None))
    truth = jax_expected(*f_and_params, of_case.x1, None)
    estimate = Expected(left_out.astype(np.float64), truth.block1, truth.block2, "the estimate without x2")
    assert_right(given, estimate, "float32", symmetric=True)


@pytest.mark.parametrize("x64", [False, True])
def test_ambient_precision_changes_nothing(x64: bool) -> None:
    plain = kernel(case("mlp_gelu"))
    with jax.enable_x64(x64):
        np.testing.assert_array_equal(kernel(case("mlp_gelu")), plain)


REFUSED = {
    "unknown option": ({"n_projections": 3}, "no option 'n_projections'; known are proj_dim, distribution"),
    "no projections": ({"proj_dim": 0}, "proj_dim must be a positive integer, got 0"),
    "fraction": ({"proj_dim": 10.5}, "proj_dim must be a positive integer, got 10.5"),
    "distribution": ({"distribution": "cauchy"}, "distribution='cauchy' is not one of gaussian, rademacher"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_reason(what: str) -> None:
    options, message = REFUSED[what]
    with pytest.raises(InputError, match=message):
        METHOD.prepare(case("linear"), Request(options=options))
