"""Training on any loss: the differential equation of the outputs, integrated.

df/dt = −K ∂L/∂f, for test outputs with K(test, train) (Lee et al. 2019, 1902.06720, equation 4). Both are f₀ + K a with
one a that obeys da/dt = −∂L/∂f, so that a alone is integrated. With friction μ, the equation of gradient descent with
momentum, d²a/dt² + μ da/dt = −∂L/∂f (Qian 1999; `clock.heavy_ball` has μ and the time of a step).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from numbers import Real
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import LinearOperator

from reference import InputError, tolerance
from studies.matrix import as_real
from studies.prediction.blocks import Kernels, checked
from studies.prediction.clock import times
from studies.prediction.forms import Form, apply, form_of, n_examples, products, rectangular, square
from studies.prediction.linearised import Outputs
from studies.prediction.losses import Gradient
from studies.prediction.targets import Targets, as_outputs, targets

Solver = Literal["DOP853", "RK45", "RK23", "Radau", "BDF", "LSODA"]


class State(NamedTuple):
    """Where an integration stands: the time, a and da/dt, both (N, O)."""

    t: float
    coefficients: np.ndarray
    velocity: np.ndarray


@dataclass(frozen=True, eq=False)
class Integration:
    """The linearised network trained on the loss whose ∂L/∂f `gradient` gives (`losses`); else as `Linearised`.

    `friction`: None for gradient flow, else μ ≥ 0. `solver` is that of `scipy.integrate.solve_ivp`: "DOP853" takes
    steps of about 6/λ_max of the curvature, "LSODA" longer ones where that is stiff. Errors of a step stay below
    `rtol`.

    Raises `InputError` for what cannot be used, and where the integration fails.
    """

    kernels: Kernels
    y: Any
    gradient: Gradient
    _: KW_ONLY
    f0: Any = 0.0
    f0_test: Any = 0.0
    friction: float | None = None
    solver: Solver = "DOP853"
    rtol: float = tolerance("float64")

    def __post_init__(self) -> None:
        if self.friction is not None and not (np.isfinite(self.friction) and self.friction >= 0):
            raise InputError(f"friction must be None or a number of at least 0, got {self.friction!r}")
        checked(self.kernels)
        if self.solver not in get_args(Solver):
            raise InputError(f"solver={self.solver!r} is not one of {', '.join(get_args(Solver))}")
        if not (isinstance(self.rtol, Real) and 0 < self.rtol < 1):
            raise InputError(f"rtol must be above 0 and less than 1, got {self.rtol!r}")
        found = as_real(self.gradient(self._f0, self._targets.y), "gradient(f, y)")
        if found.shape != self._f0.shape:
            raise InputError(f"gradient(f, y) returns shape {found.shape} for outputs of shape {self._f0.shape}; it is "
                             "∂L/∂f, not the loss")
        if not np.isfinite(found).all():
            raise InputError("gradient(f, y) holds NaN or infinite values at the outputs before training")
        _ = self._train, self._test, self._f0_test

    def at(self, t: float | np.ndarray, *, state: State | None = None) -> tuple[Outputs, State]:
        """Outputs at the times t (a number or an array, in any order), and the state at the last of them.

        Goes on from `state`, if given, whose time is then the first possible.
        """
        asked = times(t)
        state = state or State(0.0, np.zeros_like(self._f0), np.zeros_like(self._f0))
        if not np.isfinite(asked).all() or asked.min(initial=state.t) < state.t:
            raise InputError(f"an integration reaches finite times from {state.t:.6g} on, got {t!r}; for the squared "
                             "error Linearised has infinity")
        moments, places = np.unique(asked, return_inverse=True)
        states = self._integrate(state, moments)
        a = np.stack([each.coefficients for each in states])[places.reshape(-1)]
        return self._outputs(a, asked.shape), states[-1]

    def _integrate(self, state: State, moments: np.ndarray) -> list[State]:
        if moments[-1] == state.t:
            return [state]
        start = np.stack([state.coefficients, state.velocity]) if self.friction is not None else state.coefficients
        found = solve_ivp(self._slope, (state.t, moments[-1]), start.ravel(), method=self.solver, t_eval=moments,
                          rtol=self.rtol, atol=self.rtol * self._scale)
        if not found.success or not np.isfinite(found.y).all():
            raise InputError(f"the integration to t = {moments[-1]:.6g} fails: {found.message} Try solver='LSODA', or "
                             "an earlier time")
        shape = self._f0.shape
        rows = found.y.T.reshape(len(moments), -1, *shape)
        return [State(float(t), row[0], row[-1] if self.friction is not None else np.zeros(shape))
                for t, row in zip(moments, rows, strict=True)]

    def _slope(self, _: float, flat: np.ndarray) -> np.ndarray:
        parts = flat.reshape(-1, *self._f0.shape)
        force = -self.gradient(self._f0 + self._moved(self._train, parts[0]), self._targets.y)
        if self.friction is None:
            return force.ravel()
        return np.concatenate([parts[1].ravel(), (force - self.friction * parts[1]).ravel()])

    def _moved(self, matrices: Any, a: np.ndarray) -> np.ndarray:
        return self._form.unfold(apply(matrices, self._form.fold(a)))

    def _outputs(self, a: np.ndarray, shape: tuple[int, ...]) -> Outputs:
        def outputs(f0: np.ndarray, matrices: Any) -> np.ndarray:
            return self._targets.shaped([f0 + self._moved(matrices, each) for each in a], shape)

        return Outputs(outputs(self._f0, self._train),
                       None if self._test is None else outputs(self._f0_test, self._test))

    @cached_property
    def _scale(self) -> float:
        """The absolute errors of a that move the outputs as little as the relative ones: the targets' size over K's."""
        size = np.abs(self._targets.y).max() or 1.0
        on_one = np.abs(self._moved(self._train, np.ones_like(self._f0))).max()
        return float(size / on_one) if on_one else 1.0

    @cached_property
    def _targets(self) -> Targets:
        return targets(self.y)

    @cached_property
    def _form(self) -> Form:
        return form_of(self.kernels.train, *self._targets.y.shape)

    @cached_property
    def _train(self) -> Any:
        given, what = self.kernels.train, "the kernel of the training examples"
        return products(given, what) if isinstance(given, LinearOperator) else square(given, self._form, what)

    @cached_property
    def _test(self) -> Any:
        given = self.kernels.test_train
        return None if given is None else rectangular(given, self._form, len(self._targets.y),
                                                      "the kernel of test and training examples")

    @cached_property
    def _f0(self) -> np.ndarray:
        return as_outputs(self.f0, self._targets, len(self._targets.y), "f0")

    @cached_property
    def _f0_test(self) -> np.ndarray:
        return as_outputs(self.f0_test, self._targets,
                          0 if self._test is None else n_examples(self._test, self._form), "f0_test")
