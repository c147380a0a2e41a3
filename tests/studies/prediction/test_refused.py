"""Arrays, operators and numbers that cannot be used: an error that names value and remedy, and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from reference import InputError
from studies.prediction import (
    CrossEntropy,
    Ensemble,
    Integration,
    Kernels,
    Linearised,
    Ridge,
    Squared,
    convert_time,
    shared,
)
from tests.studies.prediction.problems import AGREEMENT, M, N, O, apart, problem

K, K_TEST, Y = problem().kernels.train, problem().kernels.test_train, problem().y
ROWS = K.transpose(0, 2, 1, 3).reshape(N * O, N * O)
THETA, THETA_TEST = K[..., 0, 0], K_TEST[..., 0, 0]


def linearised(train: Any = K, test_train: Any = None, y: Any = Y, **arguments: Any) -> Linearised:
    return Linearised(Kernels(train, test_train), y, **{"loss": "half_sum", **arguments})


def ensemble(ntk: Any, nngp: Any) -> Any:
    return Ensemble(Y, loss="half_mean", ntk=Kernels(*ntk), nngp=Kernels(*nngp)).at(1.0)


WHOLE = (THETA, THETA_TEST, np.eye(M))


@pytest.mark.parametrize(("call", "says"), [
    (lambda: linearised(y=Y + 1j), "y must hold real numbers, got dtype complex128"),
    (lambda: linearised(y=[list("abc")] * N), "y must hold real numbers, got dtype <U1"),
    (lambda: linearised(y=[[1.0], [1.0, 2.0]]), "y is no array of numbers"),
    (lambda: linearised(y=np.ma.masked_greater(Y, 0.0)), r"y has \d+ masked entries; leave these examples out"),
    (lambda: linearised(y=Y[:-1]), r"has shape \(6, 6, 3, 3\); for targets of shape \(5, 3\) it is"),
    (lambda: linearised(y=np.arange(N)), "classes are given as one-hot targets"),
    (lambda: linearised(K * (1 + 0j)), "training examples must hold real numbers, got dtype complex128"),
    (lambda: linearised(K, K_TEST + 1j), "test and training examples must hold real numbers"),
    (lambda: Linearised(K, Y, loss="sum"), r"must be Kernels\(train, test_train, test\), got ndarray"),  # pyright: ignore[reportArgumentType]
    (lambda: linearised(f0=1j), "f0 must hold real numbers"),
    (lambda: linearised(precision="float16"), "precision='float16' is not one of"),
    (lambda: linearised().gradient_flow("soon"), "t must hold real numbers"),  # pyright: ignore[reportArgumentType]
    (lambda: linearised().gradient_flow(np.array([1j])), "t must hold real numbers"),
    (lambda: linearised().gradient_descent(3, learning_rate=np.ones(2)), "learning_rate must be a positive number"),  # pyright: ignore[reportArgumentType]
    (lambda: linearised().gradient_descent(3, learning_rate=0.1, momentum=None), "momentum must be at least 0"),  # pyright: ignore[reportArgumentType]
    (lambda: Ridge("0.1", "absolute"), "a ridge is a number of at least 0"),  # pyright: ignore[reportArgumentType]
    (lambda: convert_time(1.0, of="mean", to="sum", n_targets=0), "n_targets is N·O, at least 1, got 0"),
    (lambda: shared(K * 1j), "must hold real numbers"),
    (lambda: linearised(aslinearoperator(ROWS * (1 + 0j))), "is an operator of complex128"),
    (lambda: linearised(aslinearoperator(ROWS * np.nan)).gradient_flow(1.0), "a product of the kernel .* holds NaN"),
    (lambda: linearised(aslinearoperator(ROWS * np.nan)).max_learning_rate(), "a product of the kernel .* holds NaN"),
    (lambda: linearised(aslinearoperator(ROWS + np.triu(ROWS, 1))).gradient_flow(np.inf), "is not symmetric: uᵀK v"),
    (lambda: linearised(aslinearoperator(-ROWS)).gradient_flow(1.0), r"not positive semidefinite.* explains \d"),
    (lambda: linearised(aslinearoperator(ROWS), ridge=Ridge(0.1, "mean_trace")), "the trace of an operator without"),
    (lambda: linearised(0 * K).gradient_flow(np.inf), "the kernel is singular to its precision"),
    (lambda: linearised(aslinearoperator(0 * ROWS)).gradient_flow(np.inf), "conjugate gradients leave"),
    (lambda: ensemble((*WHOLE[:2], np.eye(M + 1)), WHOLE), "ntk.test is of 5 test examples and ntk.test_train of 4"),
    (lambda: ensemble(WHOLE, (THETA, THETA_TEST[:2], np.eye(2))), "give both of one form, and of the same examples"),
    (lambda: ensemble((K,), (THETA,)), "ntk is full, .* and nngp shared"),
    (lambda: ensemble((*WHOLE[:2], np.eye(M)[..., None]), WHOLE), r"shape \(4, 4, 1\); .* it is \(M, M\)"),
    (lambda: ensemble((THETA, aslinearoperator(THETA_TEST), np.eye(M)), WHOLE), "covariances need kernels that are"),
    (lambda: Integration(Kernels(K), Y, Squared("sum"), solver="RK"), "solver='RK' is not one of DOP853"),  # pyright: ignore[reportArgumentType]
    (lambda: Integration(Kernels(K), Y, Squared("sum"), rtol=-1.0), "rtol must be above 0"),
    (lambda: Integration(Kernels(K), Y, lambda f, y: f * np.nan), "holds NaN or infinite values at the outputs"),
    (lambda: Integration(Kernels(K), Y, CrossEntropy()), "cross-entropy is of probabilities"),
])
def test_what_cannot_be_used_is_told(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()


def test_lists_and_no_test_examples_and_late_times_are_fine() -> None:
    whole = linearised(K, K_TEST).gradient_flow(1.0)
    assert apart(linearised(K.tolist(), K_TEST.tolist(), Y.tolist()).gradient_flow(1.0), whole) == 0
    nobody = linearised(K, K_TEST[:0]).gradient_flow(np.array([1.0, np.inf]))
    assert nobody.test is not None
    assert nobody.test.shape == (2, 0, O)
    late = linearised(K, K_TEST).gradient_flow(np.array([1e30, 1e308]))
    np.testing.assert_allclose(late.train, np.broadcast_to(Y, (2, N, O)), atol=AGREEMENT)
    empty = ensemble((THETA, THETA_TEST[:0], np.zeros((0, 0))), (THETA, THETA_TEST[:0], np.zeros((0, 0))))
    assert empty.covariance.shape == (0, 0)


def test_the_largest_learning_rate_of_kernels_without_a_constant_part_and_of_zeros() -> None:
    """Centred, as by classes that balance, they give nothing for a vector of ones."""
    centred = np.eye(N) - 1 / N
    p = linearised(centred @ THETA @ centred, y=Y[:, 0])
    assert p.max_learning_rate() == pytest.approx(2 / np.linalg.eigvalsh(centred @ THETA @ centred)[-1], rel=AGREEMENT)
    assert linearised(0 * THETA, y=Y[:, 0]).max_learning_rate() == np.inf
    with pytest.raises(InputError, match=r"learning_rate=100\.0 diverges, as it converges below .*; and the kernel is"):
        linearised(np.ones((N, N), np.float32), y=Y[:, 0]).gradient_descent(10**6, learning_rate=100.0)


def test_the_ridge_of_an_operator_that_knows_its_trace() -> None:
    traced: Any = aslinearoperator(ROWS)
    traced.trace = lambda: float(np.trace(ROWS))
    due = linearised(K, ridge=Ridge(0.1, "mean_trace")).gradient_flow(2.0)
    found = linearised(traced, ridge=Ridge(0.1, "mean_trace")).gradient_flow(2.0)
    assert np.abs(found.train - due.train).max() <= AGREEMENT * np.abs(Y).max()
