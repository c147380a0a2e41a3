"""Targets and outputs of any shape, as (N, O), and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference import InputError
from studies.matrix import as_real


@dataclass(frozen=True, eq=False)
class Targets:
    """y as (N, O) in float64, and the shape that one example's outputs had: () for targets (N,)."""

    y: np.ndarray
    of_example: tuple[int, ...]

    def shaped(self, predictions: Sequence[np.ndarray], times: tuple[int, ...]) -> np.ndarray:
        """Predictions (N, O), one for each time, as (*times, N, *of_example)."""
        return np.stack(predictions).reshape(*times, len(predictions[0]), *self.of_example)


def targets(y: Any) -> Targets:
    """Raises `InputError` for targets that are empty or not finite."""
    array = as_real(y, "y").astype(np.float64, copy=False)
    if array.ndim == 0 or array.size == 0:
        raise InputError(f"the targets have shape {array.shape}; they need one row for each training example")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"the targets hold {array[where]} at {where}; leave such examples out")
    return Targets(array.reshape(len(array), -1), array.shape[1:])


def as_outputs(f0: Any, like: Targets, n_examples: int, what: str) -> np.ndarray:
    """Outputs before training as (n_examples, O): an array of that many, or one number for all. Raises `InputError`."""
    array = as_real(f0, what).astype(np.float64, copy=False)
    due = (n_examples, *like.of_example)
    if array.shape not in ((), due):
        raise InputError(f"{what} has shape {array.shape}; outputs of {n_examples} examples, shaped as the targets, "
                         f"have {due}")
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds NaN or infinite values")
    return np.broadcast_to(array, due).reshape(n_examples, like.y.shape[1])
