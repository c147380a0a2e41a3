"""The network linearised around its parameters, trained on the squared error: its outputs in closed form.

f_lin(θ, x) = f(θ₀, x) + J(x) (θ − θ₀) (Lee et al. 2019, 1902.06720) has the constant kernel K = J Jᵀ. Trained on
c/2 (‖f − y‖² + ρ ‖θ − θ₀‖²), c as `clock` says and ρ the ridge, it gives, on any path of training that `modes` has a φ
for,

    f(train) = f₀(train) + K(train, train) φ(K(train, train) + ρ) (y − f₀(train))
    f(test)  = f₀(test)  + K(test, train)  φ(K(train, train) + ρ) (y − f₀(train)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from reference import InputError
from reference.case import DType
from studies.prediction.blocks import Kernels, checked
from studies.prediction.clock import SquaredError, check_descent, speed, times
from studies.prediction.forms import apply, form_of, n_examples, rectangular
from studies.prediction.modes import Descent, Flow, Modes
from studies.prediction.resolution import Singular
from studies.prediction.solving import NO_RIDGE, Ridge, Solver, TrainKernel
from studies.prediction.targets import Targets, as_outputs, targets


class Outputs(NamedTuple):
    """`train` (…, N, O) and `test` (…, M, O), shaped as the targets behind the axes of the time; `test` is None where
    no kernel of test examples was given. `jitter`: what was added to the kernel's diagonal beyond the ridge;
    `truncated`: how many eigenvectors were left as they were at t = 0. Both are 0 unless `singular` asks for them."""

    train: np.ndarray
    test: np.ndarray | None
    jitter: float = 0.0
    truncated: int = 0


@dataclass(frozen=True, eq=False)
class Linearised:
    """The linearised network, or the mean of infinitely wide ones, on its way from `f0` and `f0_test` to the targets y.

    `kernels` are those of one set of parameters and of projections. y is (N, O), (N, …) or (N,); f0 and f0_test, the
    outputs before training, are shaped as y, or one number. `loss` says what is minimised, and so what a unit of time
    is (`clock`). A kernel (N, N) is that of each output, as infinitely wide networks have it, and not the trace.

    `singular` says what becomes of eigenvalues below the rounding of the kernel (`resolution`), which is that of
    `precision`, by default the dtype of the kernel's array. What is decomposed is kept for further calls.

    Raises `InputError` for shapes, values and names that cannot be used.
    """

    kernels: Kernels
    y: Any
    _: KW_ONLY
    loss: SquaredError
    f0: Any = 0.0
    f0_test: Any = 0.0
    ridge: Ridge = NO_RIDGE
    solver: Solver = "auto"
    singular: Singular = "error"
    precision: DType | None = None

    def __post_init__(self) -> None:
        speed(self.loss, 1)
        checked(self.kernels)
        _ = self._train, self._test, self._f0, self._f0_test  # what cannot be used is told now

    def gradient_flow(self, t: float | np.ndarray) -> Outputs:
        """Outputs at the times t ≥ 0, a number or an array; infinity is training to the end."""
        ct = times(t) * self._speed
        return self._trained([Flow(each) for each in ct.flat], ct.shape)

    def gradient_descent(self, steps: int | np.ndarray, *, learning_rate: float, momentum: float = 0.0) -> Outputs:
        """Outputs after so many steps (whole numbers, one or an array) of v ← momentum·v + ∂L/∂θ, θ ← θ −
        learning_rate·v, as `torch.optim.SGD` and `optax.sgd` make them. The steps are not approximated by a flow.

        Raises `InputError` where the learning rate diverges beyond what float64 holds.
        """
        check_descent(learning_rate, momentum)
        counts = np.asarray(steps)
        if counts.dtype.kind not in "iu" or counts.size == 0 or (counts < 0).any():
            raise InputError(f"steps must be whole numbers of at least 0, got {steps!r}")
        rate = self._speed * learning_rate
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                found = self._trained([Descent(rate, momentum, int(each)) for each in counts.flat], counts.shape)
        except InputError as error:  # of small eigenvalues, which is beside the point where the learning rate diverges
            if learning_rate <= (largest := self.max_learning_rate(momentum)):
                raise
            raise InputError(f"learning_rate={learning_rate} diverges, as it converges below {largest:.6g}; and "
                             f"{error}") from error
        if not all(np.isfinite(each).all() for each in found[:2] if each is not None):
            raise InputError(f"learning_rate={learning_rate} diverges; it converges below "
                             f"{self.max_learning_rate(momentum):.6g}")
        return found

    def max_learning_rate(self, momentum: float = 0.0) -> float:
        """Below it gradient descent converges: 2 (1 + momentum)/(c (λ_max + ρ)) (Goh 2017, Why momentum really works,
        10.23915/distill.00006); infinity for a kernel of zeros."""
        check_descent(1.0, momentum)
        curvature = self._speed * (self._train.largest + self._train.rho)
        return 2 * (1 + momentum) / curvature if curvature > 0 else math.inf

    def _trained(self, paths: Sequence[Modes], shape: tuple[int, ...]) -> Outputs:
        system, form = self._train.for_paths(paths), self._train.form
        r = form.fold(self._targets.y - self._f0)
        train, test = [], []
        for phi in paths:
            train.append(self._f0 + form.unfold(system.moved(phi, r)))
            if self._test is not None:
                test.append(self._f0_test + form.unfold(apply(self._test, system.coefficients(phi, r))))
        return Outputs(self._targets.shaped(train, shape), self._targets.shaped(test, shape) if test else None,
                       float(system.settled.jitter.max()), int((~system.settled.kept).sum()))

    @property
    def _speed(self) -> float:
        return speed(self.loss, self._targets.y.size)

    @cached_property
    def _targets(self) -> Targets:
        return targets(self.y)

    @cached_property
    def _train(self) -> TrainKernel:
        form = form_of(self.kernels.train, *self._targets.y.shape)
        return TrainKernel(self.kernels.train, form, self.ridge, self.solver, self.singular, self.precision)

    @cached_property
    def _test(self) -> Any:
        """K(test, train) as matrices or operator, or None."""
        given = self.kernels.test_train
        return None if given is None else rectangular(given, self._train.form, len(self._targets.y),
                                                      "the kernel of test and training examples")

    @cached_property
    def _f0(self) -> np.ndarray:
        return as_outputs(self.f0, self._targets, len(self._targets.y), "f0")

    @cached_property
    def _f0_test(self) -> np.ndarray:
        n_test = 0 if self._test is None else n_examples(self._test, self._train.form)
        return as_outputs(self.f0_test, self._targets, n_test, "f0_test")
