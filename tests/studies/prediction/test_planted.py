"""Mistakes that others have made, planted in the code: the tests that hold it have to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from studies.prediction import Kernels, blocks, clock, linearised, solving
from studies.prediction.modes import Descent, Flow
from studies.prediction.solving import TrainKernel
from tests.studies.prediction import comparisons, test_kernels, test_linearised, test_singular
from tests.studies.prediction.problems import O

Plant = Callable[[pytest.MonkeyPatch], None]


def trace_for_each_output(patch: pytest.MonkeyPatch) -> None:
    """equintk: the kernel that each output is given is the sum over all of them, and training is O times too fast."""
    def of_trace(*blocks: Any) -> Kernels:
        return Kernels(*(O * each if each.ndim == 2 else each for each in blocks))

    patch.setattr(comparisons, "Kernels", of_trace)


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
    patch.setattr(solving.TrainKernel, "rho", property(lambda self: once(self) * comparisons.mean_trace()))


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


def check(way: str, witness: str) -> Callable[[], None]:
    """That comparison of the table."""
    def agree() -> None:
        (found,) = (each for each in comparisons.COMPARISONS if (each.way, each.witness) == (way, witness))
        assert found.error() <= found.allowed

    return agree


PLANTED: tuple[tuple[Plant, Callable[[], None]], ...] = (
    (trace_for_each_output, check("gradient flow, shared kernel", comparisons.INTEGRATED)),
    (other_projections, lambda: test_kernels.test_random_projections_are_shared_by_the_blocks(
        "structured_jax.monte_carlo", with_test=False)),
    (time_off_by_the_number_of_targets, check("gradient flow", comparisons.INTEGRATED)),
    (ridge_scaled_twice, check("gradient flow, ridge relative to the mean trace", comparisons.INTEGRATED)),
    (infinity_by_a_large_time, test_linearised.test_infinity_is_no_large_time),
    (zero_eigenvalues_divided_by,
     lambda: test_singular.test_eigenvalues_of_zero_are_right_at_any_finite_time("auto")),
    (momentum_ignored, check("gradient descent with momentum", comparisons.SGD)),
    (outputs_transposed, check("gradient flow", comparisons.INTEGRATED)),
)


@pytest.mark.parametrize(("plant", "holds"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_it_is_caught(plant: Plant, holds: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    holds()
    plant(monkeypatch)
    with np.errstate(all="ignore"), pytest.raises(AssertionError):
        holds()
