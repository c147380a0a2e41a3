"""Any loss by integration: the gradients, clocks, states, and what goes wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from reference import InputError
from studies.prediction import CrossEntropy, Kernels, Squared
from tests.studies.prediction.comparisons import LABELS, integration, linearised
from tests.studies.prediction.problems import AGREEMENT, N, O, apart, problem

T = np.array([0.0, 0.2, 3.0, 40.0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_over_outputs"])
def test_the_gradient_is_that_of_the_loss_in_torch(reduction: Any) -> None:
    torch = pytest.importorskip("torch")
    f, y = torch.tensor(problem().f0, requires_grad=True), torch.tensor(LABELS)
    loss = torch.nn.functional.cross_entropy(f, y, reduction="sum" if reduction == "sum" else "mean")
    (due,) = torch.autograd.grad(loss / (O if reduction == "mean_over_outputs" else 1), f)
    np.testing.assert_allclose(CrossEntropy(reduction)(problem().f0, LABELS), due, rtol=AGREEMENT)
    soft = np.abs(problem().y)  # targets that do not add to 1
    loss = torch.nn.functional.cross_entropy(f, torch.tensor(soft), reduction="sum")
    np.testing.assert_allclose(CrossEntropy("sum")(problem().f0, soft), torch.autograd.grad(loss, f)[0], rtol=AGREEMENT)


@pytest.mark.parametrize("loss", ["half_mean", "half_sum", "mean", "sum"])
def test_the_squared_error_is_the_closed_form(loss: Any) -> None:
    t = T / 40
    assert apart(integration(Squared(loss), problem().y).at(t)[0], linearised(loss).gradient_flow(t)) <= AGREEMENT


def test_any_function_serves_as_the_gradient_of_a_loss() -> None:
    """The logistic loss of signs, written in JAX, against the same one by hand."""
    jax = pytest.importorskip("jax")

    def in_jax(f: np.ndarray, y: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(jax.grad(lambda f: jax.numpy.log1p(jax.numpy.exp(-f * y)).sum())(f))

    signs = np.sign(problem().y)
    by_hand = integration(lambda f, y: -y / (1 + np.exp(f * y)), signs).at(1.0)[0]
    assert apart(integration(in_jax, signs).at(1.0)[0], by_hand) <= AGREEMENT


@pytest.mark.parametrize("friction", [None, 0.3])
def test_an_integration_goes_on_where_it_stood(friction: float | None) -> None:
    whole, _ = integration(friction=friction).at(T)
    first, state = integration(friction=friction).at(T[:2])
    assert state.t == T[1]
    second, _ = integration(friction=friction).at(T[1:], state=state)
    assert second.test is not None
    assert whole.test is not None
    assert apart([second.train, second.test], [whole.train[1:], whole.test[1:]]) <= AGREEMENT
    assert apart([first.train, second.train[:1]], [whole.train[:2], whole.train[1:2]]) <= AGREEMENT
    with pytest.raises(InputError, match=r"from 0\.2 on"):
        integration(friction=friction).at(0.1, state=state)


def test_times_come_in_any_order_and_shape() -> None:
    ours, _ = integration().at(np.array([[3.0, 0.2], [3.0, 0.0]]))
    assert ours.train.shape == (2, 2, N, O)
    np.testing.assert_array_equal(ours.train[0, 0], ours.train[1, 0])
    np.testing.assert_array_equal(ours.train[1, 1], problem().f0)
    assert apart([ours.train[0, 1], ours.train[0, 0]], integration().at(T[1:3])[0].train) <= AGREEMENT


def test_forms_of_the_kernel_agree() -> None:
    K = problem().kernels
    theta = Kernels(*(np.trace(each, axis1=2, axis2=3) / O for each in (K.train, K.test_train)))
    full = Kernels(*(each[:, :, None, None] * np.eye(O) for each in (theta.train, theta.test_train)))
    each = Kernels(*(np.repeat(each[:, :, None], O, 2) for each in (theta.train, theta.test_train)))
    products = Kernels(aslinearoperator(theta.train), aslinearoperator(theta.test_train))
    due = integration(kernels=full).at(1.0)[0]
    for given in (theta, each, products):
        assert apart(integration(kernels=given).at(1.0)[0], due) <= AGREEMENT


@pytest.mark.parametrize(("arguments", "says"), [
    ({"friction": -1.0}, "friction must be None or a number of at least 0, got -1.0"),
    ({"gradient": lambda f, y: 0.0}, r"gradient\(f, y\) returns shape \(\)"),
    ({"y": np.full((N, O), np.nan)}, r"the targets hold nan at \(0, 0\)"),
    ({"f0": np.zeros(3)}, r"f0 has shape \(3,\)"),
])
def test_what_cannot_be_used_is_told(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        integration(**arguments)


def test_times_that_cannot_be_reached_are_told() -> None:
    for t, says in ((np.inf, "finite times from 0 on"), (-1.0, "t must be at least 0"),
                    (np.nan, "t must be at least 0"), (np.array([]), "t is empty")):
        with pytest.raises(InputError, match=says):
            integration().at(t)
    with pytest.raises(InputError, match="reduction='median' is not one of mean, sum, mean_over_outputs"):
        CrossEntropy("median")  # pyright: ignore[reportArgumentType]


def test_a_loss_that_explodes_is_told_and_not_nan() -> None:
    with np.errstate(all="ignore"), pytest.raises(InputError, match=r"the integration to t = 1e\+06 fails"):
        integration(lambda f, y: -f, rtol=1e-6).at(1e6)
