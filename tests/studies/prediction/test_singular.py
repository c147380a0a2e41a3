"""Kernels that are singular, or whose small eigenvalues are rounding: an answer or an error, and never NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reference import InputError
from studies.prediction import Ensemble, Kernels, Linearised, Ridge
from studies.prediction.resolution import JITTER, resolution
from tests.studies.prediction.problems import AGREEMENT, M, N, O, apart, problem
from tests.studies.prediction.witnesses import by_parameters

RANK = N * O - 5


def few_parameters() -> tuple[np.ndarray, np.ndarray]:
    """Jacobians of fewer parameters than there are targets: (N, O, P), (M, O, P)."""
    return problem().J[..., :RANK], problem().J_test[..., :RANK]


def singular_kernels() -> Kernels:
    J, J_test = few_parameters()
    return Kernels(np.einsum("nap,mbp->nmab", J, J), np.einsum("nap,mbp->nmab", J_test, J))


def linearised(kernels: Kernels, **arguments: Any) -> Linearised:
    return Linearised(kernels, problem().y, **{"loss": "half_sum", **problem().start, **arguments})


def in_float32(K: Kernels) -> Kernels:
    return Kernels(np.float32(K.train), np.float32(K.test_train))


@pytest.mark.parametrize("solver", ["auto", "conjugate_gradients"])
def test_eigenvalues_of_zero_are_right_at_any_finite_time(solver: Any) -> None:
    J, J_test = few_parameters()
    t = np.array([0.1, 10.0, 1000.0])
    due = by_parameters(problem().changed(J=J, J_test=J_test), t, lambda f, y: f - y)
    assert apart(linearised(singular_kernels(), solver=solver).gradient_flow(t), due) <= AGREEMENT


def test_infinity_asks_what_to_do_with_eigenvalues_of_zero() -> None:
    with pytest.raises(InputError, match=r"5 of 18 eigenvalues are below its rounding, .* \(smallest .*, largest"):
        linearised(singular_kernels()).gradient_flow(np.inf)
    with pytest.raises(InputError, match="the smallest eigenvalue found is"):
        linearised(singular_kernels(), solver="conjugate_gradients").gradient_flow(np.inf)
    with pytest.raises(InputError, match="kernel is singular"):
        Ensemble(problem().y, loss="sum", nngp=Kernels(singular_kernels().train)).at(np.inf, "nngp")


def test_truncated_infinity_is_the_least_squares_solution() -> None:
    """Nearest to θ₀ of all that fit best: what training tends to."""
    J, J_test = few_parameters()
    found = linearised(singular_kernels(), singular="truncate").gradient_flow(np.inf)
    theta = np.linalg.lstsq(J.reshape(N * O, -1), (problem().y - problem().f0).ravel(), rcond=None)[0]
    assert apart(found, (problem().f0 + J @ theta, problem().f0_test + J_test @ theta)) <= AGREEMENT
    assert found.truncated == 5
    assert found.jitter == 0


def test_jitter_is_a_ridge_that_is_reported() -> None:
    found = linearised(singular_kernels(), singular="jitter").gradient_flow(np.inf)
    K = singular_kernels().train.transpose(0, 2, 1, 3).reshape(1, N * O, N * O)
    rounding = resolution(K, "float64").item()
    assert found.jitter == pytest.approx(JITTER * rounding, rel=0.1)
    assert found.truncated == 0
    due = linearised(singular_kernels(), ridge=Ridge(found.jitter, "absolute"),
                     solver="eigendecomposition").gradient_flow(np.inf)
    assert apart(found, due) <= AGREEMENT
    assert linearised(problem().kernels, singular="jitter").gradient_flow(np.inf).jitter == 0


def test_float32_kernels_have_the_rounding_of_float32() -> None:
    """Twelve examples, of which pairs are 1e-4 apart: float64 resolves them, float32 does not."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(6, 40)), 2, 0) + 1e-4 * rng.normal(size=(12, 40))
    K, y = x @ x.T, rng.normal(size=12)
    exact = Linearised(Kernels(K), y, loss="half_sum").gradient_flow(np.array([1e2, np.inf]))
    np.testing.assert_allclose(exact.train[1], y, atol=AGREEMENT)
    for noisy in (Linearised(Kernels(np.float32(K)), y, loss="half_sum"),
                  Linearised(Kernels(np.float32(K).astype(float)), y, loss="half_sum", precision="float32")):
        early = noisy.gradient_flow(1e2)
        np.testing.assert_allclose(early.train, exact.train[0], atol=1e2 * noisy._train.rounding.item())
        for late in (np.inf, 1e6):
            with pytest.raises(InputError, match="6 of 12 eigenvalues are below its rounding"):
                noisy.gradient_flow(late)


def test_what_is_no_kernel_is_told() -> None:
    K = problem().kernels.train
    negative = K - 0.5 * np.einsum("nm,ab->nmab", np.eye(N), np.eye(O))
    lopsided = K.copy()
    lopsided[0, 1] += 1e-3
    unknown = K.copy()
    unknown[2, 2] = np.nan
    for given, says in ((Kernels(negative), "not positive semidefinite: its smallest eigenvalue is -0.4"),
                        (Kernels(lopsided), "is not symmetric: its rows 1 and 4 have"),
                        (Kernels(K.astype(np.float16)), "the kernel is float16, which leaves nothing"),
                        (Kernels(unknown), "the kernel of the training examples holds NaN or infinite"),
                        (Kernels(K[:, :-1]), r"the kernel of the training examples has shape \(6, 5, 3, 3\)"),
                        (Kernels(K, K[:, :-1]), r"has shape \(6, 5, 3, 3\); .* full, it is \(M, 6, 3, 3\)"),
                        (Kernels(K, problem().kernels.test_train[..., 0, 0]), "has shape")):
        with pytest.raises(InputError, match=says):
            linearised(given, f0_test=0.0).gradient_flow(1.0)
    with pytest.raises(InputError, match="f0_test has shape"):
        linearised(problem().kernels, f0_test=np.zeros((M, 1)))


@pytest.mark.parametrize(("arguments", "says"), [
    ({"loss": "mse"}, "loss='mse' is not one of half_mean, half_sum, mean, sum"),
    ({"solver": "qr"}, "solver='qr' is not one of auto"),
    ({"singular": "ignore"}, "singular='ignore' is not one of error, jitter, truncate"),
    ({"ridge": 0.1}, r'ridge=0.1 does not say its scale; give Ridge\(0.1, "absolute"\)'),
    ({"f0": np.zeros((N, O + 1))}, "f0 has shape"),
    ({"f0_test": np.full((M, O), np.inf)}, "f0_test holds NaN or infinite"),
])
def test_what_cannot_be_used_is_told(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        linearised(problem().kernels, **arguments)


@pytest.mark.parametrize("arguments", [(-1.0, "absolute"), (np.nan, "absolute"), (1.0, "relative")])
def test_a_ridge_says_its_scale(arguments: tuple[Any, Any]) -> None:
    with pytest.raises(InputError, match="a ridge is a number of at least 0"):
        Ridge(*arguments)


def test_times_and_steps_that_are_none_are_told() -> None:
    p = linearised(problem().kernels)
    for t in (-1.0, np.nan, np.array([1.0, -2.0]), np.array([])):
        with pytest.raises(InputError, match=r"t must be at least 0|t is empty"):
            p.gradient_flow(t)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"steps": 1.5, "learning_rate": 0.1}, "steps must be whole numbers"),
        ({"steps": -1, "learning_rate": 0.1}, "steps must be whole numbers"),
        ({"steps": 3, "learning_rate": -0.1}, "learning_rate must be a positive number"),
        ({"steps": 3, "learning_rate": 0.1, "momentum": 1.0}, "momentum must be at least 0"))
    for arguments, says in wrong:
        with pytest.raises(InputError, match=says):
            p.gradient_descent(**arguments)
    with pytest.raises(InputError, match="solver='cholesky' is for t = inf alone"):
        linearised(problem().kernels, solver="cholesky").gradient_flow(1.0)
