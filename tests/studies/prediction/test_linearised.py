"""The squared error in closed form, against every other way to the same outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from reference import InputError
from studies.prediction import Kernels, Linearised, Outputs, Ridge, Squared, convert_time, shared, time_of_steps
from studies.prediction.clock import SquaredError, speed, steps_of_time
from tests.studies.prediction.problems import AGREEMENT, M, N, O, apart, problem
from tests.studies.prediction.witnesses import (
    NEURAL_TANGENTS,
    by_neural_tangents,
    by_parameters,
    by_training_jax,
    by_training_torch,
    neural_tangents_predict,
)

T = np.array([0.0, 0.03, 1.0, 30.0, 1000.0])
RATE = 0.2


def linearised(loss: SquaredError = "half_mean", **arguments: Any) -> Linearised:
    kernels = arguments.pop("kernels", problem().kernels)
    return Linearised(kernels, problem().y, loss=loss, **{**problem().start, **arguments})


def mean_trace() -> float:
    return float(np.einsum("nnaa->", problem().kernels.train)) / (N * O)


@NEURAL_TANGENTS
@pytest.mark.parametrize("solver", ["auto", "conjugate_gradients"])
@pytest.mark.parametrize("ridge", [Ridge(0.0, "absolute"), Ridge(0.3, "absolute"), Ridge(0.05, "mean_trace")], ids=str)
def test_gradient_flow_is_neural_tangents(ridge: Ridge, solver: Any) -> None:
    ours = linearised(ridge=ridge, solver=solver)
    of_ridge = {"ridge": ridge.value, "absolute": ridge.scale == "absolute"}
    assert apart(ours.gradient_flow(T), by_neural_tangents(problem(), T, **of_ridge)) <= AGREEMENT
    infinity = ours.gradient_flow(np.inf)
    due = by_neural_tangents(problem(), None, **of_ridge)
    assert apart(infinity, due) <= AGREEMENT
    assert apart(linearised(ridge=ridge).gradient_flow(np.array([1.0, np.inf])),
                 [np.stack(pair) for pair in zip(by_neural_tangents(problem(), 1.0, **of_ridge), due, strict=True)]
                 ) <= AGREEMENT  # by an eigendecomposition, where the others are by Cholesky's


@pytest.mark.parametrize("loss", ["half_mean", "half_sum", "mean", "sum"])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_gradient_flow_is_the_flow_of_the_parameters(loss: SquaredError, ridge: float) -> None:
    c = speed(loss, N * O)
    due = by_parameters(problem(), T[:4] / c / 10, Squared(loss), ridge=c * ridge)
    ours = linearised(loss, ridge=Ridge(ridge, "absolute")).gradient_flow(T[:4] / c / 10)
    assert apart(ours, due) <= AGREEMENT


LOSSES_OF_TORCH = {"mean": {"reduction": "mean"}, "sum": {"reduction": "sum"}}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("loss", LOSSES_OF_TORCH)
def test_gradient_descent_is_training_in_torch(loss: Any, momentum: float) -> None:
    torch = pytest.importorskip("torch")
    rate = RATE * linearised(loss).max_learning_rate(momentum)
    due = by_training_torch(problem(), 150, torch.nn.MSELoss(**LOSSES_OF_TORCH[loss]), learning_rate=rate,
                            momentum=momentum)
    ours = linearised(loss).gradient_descent(150, learning_rate=rate, momentum=momentum)
    assert apart(ours, due) <= AGREEMENT


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("loss", ["mean", "half_sum"])
def test_gradient_descent_is_training_in_jax(loss: Any, momentum: float) -> None:
    optax = pytest.importorskip("optax")
    function = {"mean": lambda f, y: optax.losses.squared_error(f, y).mean(),
                "half_sum": lambda f, y: optax.losses.l2_loss(f, y).sum()}[loss]
    rate = RATE * linearised(loss).max_learning_rate(momentum)
    due = by_training_jax(problem(), 150, function, learning_rate=rate, momentum=momentum)
    ours = linearised(loss).gradient_descent(150, learning_rate=rate, momentum=momentum)
    assert apart(ours, due) <= AGREEMENT
    by_products = linearised(loss, solver="conjugate_gradients")
    assert apart(by_products.gradient_descent(150, learning_rate=rate, momentum=momentum), due) <= AGREEMENT


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


def test_small_steps_are_the_flow() -> None:
    """Halving the learning rate halves the distance, with momentum too, on the clock of `time_of_steps`."""
    for momentum in (0.0, 0.5):
        def distance(steps: int, momentum: float = momentum) -> float:
            rate = float(steps_of_time(2.0, learning_rate=1.0, momentum=momentum)) / steps
            assert time_of_steps(steps, learning_rate=rate, momentum=momentum) == pytest.approx(2.0)
            return apart(linearised().gradient_descent(steps, learning_rate=rate, momentum=momentum),
                         linearised().gradient_flow(2.0))

        assert distance(4000) < distance(2000) * 0.51 < AGREEMENT**0.25


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_largest_learning_rate_is_the_last_that_converges(momentum: float) -> None:
    p = linearised()
    largest = p.max_learning_rate(momentum)
    below, above = (p.gradient_descent(2000, learning_rate=factor * largest, momentum=momentum).train - problem().y
                    for factor in (0.98, 1.02))
    assert np.abs(below).max() < 1 < np.abs(above).max()
    with pytest.raises(InputError, match="diverges"):
        p.gradient_descent(10**6, learning_rate=1.5 * largest, momentum=momentum)


@NEURAL_TANGENTS
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_largest_learning_rate_is_neural_tangents(momentum: float) -> None:
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        K = jnp.asarray(problem().kernels.train)
        due = float(neural_tangents_predict().max_learning_rate(K, momentum=momentum))
    assert linearised().max_learning_rate(momentum) == pytest.approx(due, rel=AGREEMENT)


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
    theta = Kernels(np.trace(full.train, axis1=2, axis2=3) / O, np.trace(full.test_train, axis1=2, axis2=3) / O)
    tensored = Kernels(*(K[:, :, None, None] * np.eye(O) for K in (theta.train, theta.test_train)))
    np.testing.assert_array_equal(shared(tensored.train), theta.train)
    with pytest.raises(InputError, match="do not share one kernel"):
        shared(full.train)
    given = Kernels(aslinearoperator(theta.train), aslinearoperator(theta.test_train)) if products else theta
    for ridge in (Ridge(0.0, "absolute"), Ridge(0.2, "absolute")):
        for t in (T, np.inf):
            assert apart(linearised(kernels=given, ridge=ridge).gradient_flow(t),
                         linearised(kernels=tensored, ridge=ridge).gradient_flow(t)) <= AGREEMENT


@NEURAL_TANGENTS
def test_a_shared_kernel_is_neural_tangents_trace_axis() -> None:
    K = problem().kernels
    theta = Kernels(*(np.trace(each, axis1=2, axis2=3) / O for each in (K.train, K.test_train)))
    assert apart(linearised(kernels=theta).gradient_flow(T),
                 by_neural_tangents(problem(), T, kernels=theta, trace_axes=(-1,))) <= AGREEMENT


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


def test_times_and_learning_rates_are_converted_between_losses() -> None:
    t = convert_time(3.0, of="half_mean", to="half_sum", n_targets=N * O)
    assert t == pytest.approx(3.0 / (N * O))
    assert apart(linearised("half_mean").gradient_flow(3.0), linearised("half_sum").gradient_flow(t)) <= AGREEMENT
    assert convert_time(1.0, of="mean", to="half_mean", n_targets=N * O) == pytest.approx(2.0)


def test_nothing_given_is_changed_and_nothing_is_random() -> None:
    f = problem()
    before = [np.copy(each) for each in (f.kernels.train, f.y, f.f0)]
    first, second = linearised().gradient_flow(T), linearised().gradient_flow(T)
    assert isinstance(first, Outputs)
    np.testing.assert_array_equal(first.train, second.train)
    for was, now in zip(before, (f.kernels.train, f.y, f.f0), strict=True):
        np.testing.assert_array_equal(was, now)
