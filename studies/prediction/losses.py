"""Losses by what an integration needs of them: ∂L/∂f, of the outputs f and the targets y, both (N, O).

Any function ``gradient(f, y)`` of NumPy arrays serves; of a loss written in JAX it is
``lambda f, y: np.asarray(jax.grad(loss)(f, y))``, of one in PyTorch `torch.func.grad` likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import softmax

from reference import InputError
from studies.prediction.clock import SquaredError, speed

Gradient = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""∂L/∂f of f and y, both (N, O), shaped as f."""

Reduction = Literal["mean", "sum", "mean_over_outputs"]


@dataclass(frozen=True)
class Squared:
    """The squared error, by the names of `clock`."""

    loss: SquaredError

    def __call__(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        return speed(self.loss, y.size) * (f - y)


@dataclass(frozen=True)
class CrossEntropy:
    """−Σ y log softmax(f) of probabilities y, one-hot ones say; ∂L/∂f = softmax(f) Σ_a y_a − y.

    `reduction`: "mean" over the N examples (`torch.nn.CrossEntropyLoss()`, optax's with ``.mean()``), their "sum", or
    the "mean_over_outputs" too, N·O of them (the example of neural-tangents' `predict.gradient_descent`).
    """

    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        if self.reduction not in get_args(Reduction):
            raise InputError(f"reduction={self.reduction!r} is not one of {', '.join(get_args(Reduction))}")

    def __call__(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        if (y < 0).any():
            raise InputError(f"cross-entropy is of probabilities, one-hot ones say, and a target is {y.min():.6g}")
        over = {"mean": len(y), "sum": 1, "mean_over_outputs": y.size}[self.reduction]
        return (softmax(f, axis=-1) * y.sum(-1, keepdims=True) - y) / over
