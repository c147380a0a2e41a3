"""The squared error in closed form: shapes, forms of the kernel, clocks, and the largest learning rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from reference import InputError
from studies.prediction import Kernels, Linearised, Ridge, convert_time, shared, time_of_steps
from studies.prediction.clock import steps_of_time
from tests.studies.prediction.comparisons import T, linearised, mean_trace
from tests.studies.prediction.problems import AGREEMENT, M, N, O, apart, problem


def test_steps_come_in_arrays_of_any_shape() -> None:
    steps = np.array([[0, 1, 2], [5, 50, 500]])
    rate = 0.3 * linearised().max_learning_rate()
    together = linearised().gradient_descent(steps, learning_rate=rate)
    assert together.train.shape == (2, 3, N, O)
    assert together.test is not None
    assert together.test.shape == (2, 3, M, O)
    alone = linearised().gradient_descent(50, learning_rate=rate)
    assert apart([together.train[1, 1], together.test[1, 1]], alone) <= AGREEMENT
    assert apart([together.train[0, 0], together.test[0, 0]], [problem().f0, problem().f0_test]) == 0


def test_infinity_is_a_time_among_others() -> None:
    together, alone = linearised().gradient_flow(np.array([1.0, np.inf])), linearised().gradient_flow(np.inf)
    assert together.test is not None
    assert apart([together.train[1], together.test[1]], alone) <= AGREEMENT
    assert apart([together.train[0], together.test[0]], linearised().gradient_flow(1.0)) <= AGREEMENT


def test_infinity_is_no_large_time() -> None:
    """Two examples that are nearly the same: what tells them apart is learned from 1e8 on."""
    x, y = np.array([[1.0, 0.0], [1.0, 1e-4]]), np.array([1.0, -1.0])
    found = Linearised(Kernels(x @ x.T), y, loss="half_sum").gradient_flow(np.array([1e6, np.inf]))
    assert np.abs(found.train[0] - y).max() > 0.9
    np.testing.assert_allclose(found.train[1], y, atol=AGREEMENT)


def test_small_steps_are_the_flow() -> None:
    """Halving the learning rate halves the distance, with momentum too, on the clock of `time_of_steps`."""
    for momentum in (0.0, 0.5):
        def distance(steps: int, momentum: float = momentum) -> float:
            rate = float(steps_of_time(2.0, learning_rate=1.0, momentum=momentum)) / steps
            assert time_of_steps(steps, learning_rate=rate, momentum=momentum) == pytest.approx(2.0)
            return apart(linearised().gradient_descent(steps, learning_rate=rate, momentum=momentum),
                         linearised().gradient_flow(2.0))

        assert distance(4000) < distance(2000) * 0.51 < AGREEMENT**0.25


@pytest.mark.parametrize("ridge", [Ridge(0.0, "absolute"), Ridge(2.0, "absolute")], ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_largest_learning_rate_is_the_last_that_converges(momentum: float, ridge: Ridge) -> None:
    p = linearised(ridge=ridge)
    largest, due = p.max_learning_rate(momentum), p.gradient_flow(np.inf).train
    below, above = (p.gradient_descent(3000, learning_rate=factor * largest, momentum=momentum).train - due
                    for factor in (0.98, 1.02))
    assert np.abs(below).max() < 1 < np.abs(above).max()
    with pytest.raises(InputError, match=f"diverges; it converges below {largest:.6g}"):
        p.gradient_descent(10**6, learning_rate=1.5 * largest, momentum=momentum)


def test_a_relative_ridge_is_the_absolute_one() -> None:
    assert mean_trace() != pytest.approx(1, rel=0.1)
    relative, absolute = (linearised(ridge=ridge).gradient_flow(np.inf)
                          for ridge in (Ridge(0.05, "mean_trace"), Ridge(0.05 * mean_trace(), "absolute")))
    assert apart(relative, absolute) <= AGREEMENT


def test_a_kernel_of_outputs_that_do_not_mix() -> None:
    full = problem().kernels
    diagonal = Kernels(np.einsum("nmaa->nma", full.train), np.einsum("nmaa->nma", full.test_train))
    masked = Kernels(full.train * np.eye(O), full.test_train * np.eye(O))
    for t in (0.7, np.inf):
        assert apart(linearised(kernels=diagonal).gradient_flow(t),
                     linearised(kernels=masked).gradient_flow(t)) <= AGREEMENT


@pytest.mark.parametrize("products", [False, True])
def test_a_kernel_that_the_outputs_share(products: bool) -> None:
    full = problem().kernels
    theta = Kernels(*(np.trace(K, axis1=2, axis2=3) / O for K in (full.train, full.test_train)))
    tensored = Kernels(*(K[:, :, None, None] * np.eye(O) for K in (theta.train, theta.test_train)))
    given = Kernels(aslinearoperator(theta.train), aslinearoperator(theta.test_train)) if products else theta
    for ridge in (Ridge(0.0, "absolute"), Ridge(0.2, "absolute")):
        for t in (T, np.inf):
            assert apart(linearised(kernels=given, ridge=ridge).gradient_flow(t),
                         linearised(kernels=tensored, ridge=ridge).gradient_flow(t)) <= AGREEMENT
    np.testing.assert_array_equal(shared(tensored.train), theta.train)
    with pytest.raises(InputError, match="the outputs do not share one kernel: it is 0"):
        shared(full.train)


def test_kernel_vector_products_of_the_full_kernel() -> None:
    full = problem().kernels
    operators = Kernels(*(aslinearoperator(K.transpose(0, 2, 1, 3).reshape(K.shape[0] * O, -1))
                          for K in (full.train, full.test_train)))
    ours = linearised(kernels=operators)
    for t in (T, np.inf):
        assert apart(ours.gradient_flow(t), linearised().gradient_flow(t)) <= AGREEMENT
    assert ours.max_learning_rate() == pytest.approx(linearised().max_learning_rate(), rel=AGREEMENT)


def test_outputs_are_shaped_as_the_targets() -> None:
    f = problem()
    images = Linearised(f.kernels, f.y.reshape(N, 1, O), loss="sum", f0=f.f0.reshape(N, 1, O))
    assert images.gradient_flow(np.ones((2, 2))).train.shape == (2, 2, N, 1, O)
    K = f.kernels.train[:, :, 0, 0]
    one = Linearised(Kernels(K, K[:2]), f.y[:, 0], loss="sum").gradient_flow(1.0)
    assert one.train.shape == (N,)
    assert one.test is not None
    assert one.test.shape == (2,)
    np.testing.assert_allclose(one.test, one.train[:2], rtol=AGREEMENT)


def test_times_are_converted_between_losses() -> None:
    t = convert_time(3.0, of="half_mean", to="half_sum", n_targets=N * O)
    assert t == pytest.approx(3.0 / (N * O))
    assert apart(linearised("half_mean").gradient_flow(3.0), linearised("half_sum").gradient_flow(t)) <= AGREEMENT
    assert convert_time(1.0, of="mean", to="half_mean", n_targets=N * O) == pytest.approx(2.0)


def test_nothing_given_is_changed_and_nothing_is_random() -> None:
    f = problem()
    kernels = f.kernels
    before = [np.copy(each) for each in (kernels.train, f.y, f.f0)]
    first, second = (linearised(kernels=kernels).gradient_flow(T) for _ in range(2))
    np.testing.assert_array_equal(first.train, second.train)
    for was, now in zip(before, (kernels.train, f.y, f.f0), strict=True):
        np.testing.assert_array_equal(was, now)
