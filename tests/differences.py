"""Derivatives of a function of the kernel, held to central differences of the reference's own kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reference import Case, select_outputs, tolerance
from reference.arithmetic import FLOAT64
from reference.case import Outputs
from reference.jacobian import linearise

STEP = tolerance("float64") ** (1 / 3)
"""Central differences are then off by h² of the third derivative, and by ε/h of rounding, which is about as much."""

CLOSE = tolerance("float64") ** (1 / 2)
"""Of the sizes of the terms of a derivative; h² is 1e-8, and third derivatives are larger than first ones."""


def wave(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of both signs, all unlike."""
    return np.cos(1.3 * np.arange(np.prod(shape, dtype=int))).reshape(shape)


def tape_kernel(of: Case, params: Mapping[str, np.ndarray], x1: np.ndarray, x2: np.ndarray,
                outputs: Outputs) -> np.ndarray:
    """By the reference's own tape in float64."""
    arrays = {**of.constants, **{name: np.asarray(value) for name, value in params.items()}}
    left, right = (np.array([linearise(of.network, FLOAT64, arrays, row).jacobian(list(of.params))  # pyright: ignore[reportArgumentType]
                             for row in np.asarray(x)]) for x in (x1, x2))
    return select_outputs(np.einsum("nap,mbp->nmab", left, right), outputs)


def assert_derivative(value: Callable[..., float], at: tuple[Mapping[str, np.ndarray], ...],
                      gradient: tuple[Mapping[str, Any], ...]) -> None:
    """The directional derivative of `value`, by differences, along `wave`, is that of `gradient`."""
    along = [{name: wave(np.shape(leaf)) for name, leaf in tree.items()} for tree in at]
    terms = np.concatenate([(np.asarray(g[name]) * d[name]).ravel() for g, d in zip(gradient, along, strict=True)
                            for name in d])

    def moved(step: float) -> float:
        return value(*({name: np.asarray(leaf) + step * d[name] for name, leaf in tree.items()}
                       for tree, d in zip(at, along, strict=True)))

    slope = (moved(STEP) - moved(-STEP)) / (2 * STEP)
    assert terms.any()
    assert abs(terms.sum() - slope) <= CLOSE * np.abs(terms).sum()
