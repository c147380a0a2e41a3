"""Units that no longer do anything: dead ones, and those whose activation is saturated for every example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np

from reference import InputError
from studies.config import nearest

Activation = Literal["relu", "sigmoid", "tanh", "selu", "elu"]

# Where an activation is flat, or nearly: SELU falls to −1.758, ELU (α = 1) to −1. The thresholds are those of the
# repository that `studies.tracking.ranks` names.
_FLAT: Mapping[Activation, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda a: a <= 0,
    "sigmoid": lambda a: (a < 0.01) | (a > 0.99),
    "tanh": lambda a: np.abs(a) > 0.99,
    "selu": lambda a: a < -1.7,
    "elu": lambda a: a < -0.99,
}


def inactive_units(features: np.ndarray, activation: Activation) -> float:
    """The share of units, in [0, 1], whose value is in the flat part of the activation for every example.

    `features` (N, …) are the activation's own values, each entry of an example a unit: in a ConvNet a channel at a
    place. ReLU: 0 for all; sigmoid: below 0.01 or above 0.99; tanh: beyond ±0.99; SELU below −1.7; ELU below −0.99.
    """
    if activation not in _FLAT:
        raise InputError(f"units of the activation {activation!r} are not known to be flat anywhere"
                         f"{nearest(str(activation), get_args(Activation))}")
    return float(_FLAT[activation](np.asarray(features)).all(axis=0).mean())
