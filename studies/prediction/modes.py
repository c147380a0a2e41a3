"""How far each eigenvector of the kernel is learned, and what that takes of the kernel.

Training on the squared error moves the outputs by f(t) − f₀ = K a(t), a(t) = φ(K + ρ) (y − f₀), with one function φ of
an eigenvalue λ for each way of training; ρ is the ridge, c of `clock`, and λφ(λ), without ridge, the part learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Modes(Protocol):
    """From eigenvalues λ ≥ 0 (any shape) to φ(λ), of that shape; `reach` is the c·t that training comes to."""

    @property
    def reach(self) -> float: ...

    def __call__(self, values: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Flow:
    """Gradient flow until c·t: (1 − exp(−λct))/λ, which is ct at λ = 0 (Lee et al. 2019, 1902.06720, equations 8–11).

    At infinity 1/λ, and 0 for λ = 0: eigenvectors that the parameters cannot move have no part in K(test, train).
    """

    ct: float

    @property
    def reach(self) -> float:
        return self.ct

    def __call__(self, values: np.ndarray) -> np.ndarray:
        positive = np.where(values > 0, values, 1.0)
        if np.isinf(self.ct):
            return np.where(values > 0, 1 / positive, 0.0)
        with np.errstate(over="ignore"):  # of λct, whose exponential is 0 then
            return np.where(values > 0, -np.expm1(-positive * self.ct) / positive, self.ct)


@dataclass(frozen=True)
class Descent:
    """Gradient descent with c·learning_rate = `rate` and heavy-ball momentum (Polyak 1964; `torch.optim.SGD`).

    Each eigenvector's φ follows φ' = φ + v', v' = m v + rate (1 − λφ) from 0, an affine map whose power is taken: its
    rounding is that of float64 times about the number of steps.
    """

    rate: float
    momentum: float
    steps: int

    @property
    def reach(self) -> float:
        return self.rate * self.steps / (1 - self.momentum)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        one, zero = np.ones_like(values), np.zeros_like(values)
        velocity = [self.momentum * one, -self.rate * values, self.rate * one]  # of (v, φ, 1)
        moved = [velocity[0], one + velocity[1], velocity[2]]
        step = np.stack([np.stack(row, -1) for row in (velocity, moved, [zero, zero, one])], -2)
        return np.linalg.matrix_power(step, self.steps)[..., 1, 2]
