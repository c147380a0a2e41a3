"""Mistakes that others have made, planted in the code: the tests that hold it have to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from studies.prediction import Kernels, blocks, clock, linearised, solving
from studies.prediction.modes import Descent, Flow
from studies.prediction.solving import TrainKernel
from tests.studies.prediction import test_kernels, test_linearised, test_singular
from tests.studies.prediction.problems import O

Plant = Callable[[pytest.MonkeyPatch], None]


def trace_for_each_output(patch: pytest.MonkeyPatch) -> None:
    """equintk: the kernel that each output is given is the sum over all of them, and training is O times too fast."""
    shared = test_linearised.Kernels

    def of_trace(*blocks: Any) -> Kernels:
        return shared(*(O * each if each.ndim == 2 else each for each in blocks))

    patch.setattr(test_linearised, "Kernels", of_trace)


def other_projections(patch: pytest.MonkeyPatch) -> None:
    """equintk: a new key for each call."""
    def apart(model: Any, x_train: Any, x_test: Any, *, with_test: bool, arguments: dict[str, Any]) -> Kernels:
        train, test_train = (blocks.to_numpy(blocks.ntk(model, *x, **{**arguments, "seed": seed}))
                             for seed, x in enumerate([(x_train,), (x_test, x_train)]))
        return Kernels(train, test_train)

    patch.setattr(blocks, "_from_one_call", apart)


def time_off_by_the_number_of_targets(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(linearised, "speed", lambda loss, n: clock.speed(loss, n) / n)


def ridge_scaled_twice(patch: pytest.MonkeyPatch) -> None:
    once = TrainKernel.rho.func  # pyright: ignore[reportAttributeAccessIssue]
    patch.setattr(solving.TrainKernel, "rho", property(lambda self: once(self) * test_linearised.mean_trace()))


def infinity_by_a_large_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(linearised, "times", lambda t: np.minimum(clock.times(t), 1e6))


def zero_eigenvalues_divided_by(patch: pytest.MonkeyPatch) -> None:
    """neural-tangents: (exp(−λt) − 1)/λ, NaN at 0 and noise beside it."""
    with np.errstate(all="ignore"):
        patch.setattr(Flow, "__call__", lambda self, values: (1 - np.exp(-values * self.ct)) / values)


def momentum_ignored(patch: pytest.MonkeyPatch) -> None:
    right = Descent.__call__
    patch.setattr(Descent, "__call__", lambda self, values: right(Descent(self.rate, 0.0, self.steps), values))


def outputs_transposed(patch: pytest.MonkeyPatch) -> None:
    right = linearised.rectangular
    patch.setattr(linearised, "rectangular",
                  lambda kernel, *rest: right(kernel.swapaxes(-1, -2) if kernel.ndim == 4 else kernel, *rest))


def check_infinity() -> None:
    """Two examples that are nearly the same: what tells them apart is learned at 1e8, and at infinity."""
    x = np.array([[1.0, 0.0], [1.0, 1e-4]])
    found = linearised.Linearised(Kernels(x @ x.T), np.array([1.0, -1.0]), loss="half_sum").gradient_flow(np.inf)
    np.testing.assert_allclose(found.train, [1, -1], atol=test_linearised.AGREEMENT)


def check_flow() -> None:
    test_linearised.test_gradient_flow_is_the_flow_of_the_parameters("half_mean", 0.0)


PLANTED: tuple[tuple[Plant, Callable[[], None]], ...] = (
    (trace_for_each_output, lambda: test_linearised.test_a_shared_kernel_is_that_of_each_output()),
    (other_projections, lambda: test_kernels.test_random_projections_are_shared_by_the_blocks(
        "structured_jax.monte_carlo", with_test=False)),
    (time_off_by_the_number_of_targets, check_flow),
    (ridge_scaled_twice, lambda: test_linearised.test_a_relative_ridge_is_the_absolute_one()),
    (infinity_by_a_large_time, check_infinity),
    (zero_eigenvalues_divided_by,
     lambda: test_singular.test_eigenvalues_of_zero_are_right_at_any_finite_time("auto")),
    (momentum_ignored, lambda: test_linearised.test_gradient_descent_is_training_in_torch("mean", 0.9)),
    (outputs_transposed, check_flow),
)


@pytest.mark.parametrize(("plant", "check"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_it_is_caught(plant: Plant, check: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    check()
    plant(monkeypatch)
    with np.errstate(all="ignore"), pytest.raises(AssertionError):
        check()
