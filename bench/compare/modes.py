"""Whether the processes of one side fall into two modes, so that one figure for them says little.

Seen in practice: addresses, the placement of pages or a choice at start decide once for a process whether it is quick
or slow, by a factor of up to two. The criterion is a gap: of the sorted logarithms, the widest gap that leaves a fifth
of the processes (three at least) on either side, over the standard deviation within the two parts. How large it has to
be is found by drawing from distributions of one mode, of which the least favourable counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from bench.compare.statistics import Values
from reference import InputError

FALSE_FLAGS = 0.01
"""How often noise of one mode is called two, at most: of the shapes below, for the least favourable one."""
LEAST = 3
"""Processes in a mode."""
SHARE = 0.2
"""Of all, in a mode."""
_DRAWS = 4000
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.uniform(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "lognormal": lambda rng, shape: np.exp(rng.normal(size=shape)),
}
"""Of the logarithm of the noise: without tails, with one, and with a long one."""


def two_modes(values: Values) -> tuple[float, float] | None:
    """The medians of the two modes, where there are two; None where one does, or where there are too few processes.

    Modes that lie less than about six standard deviations apart are not told from one.
    """
    if any(not value > 0 for value in values):
        raise InputError(f"times must be positive, got {min(values)}")
    n = len(values)
    if n < 2 * LEAST:
        return None
    logs = np.sort(np.log(values))
    place, gap = _widest(logs[None])
    if not gap[0] > critical(n):
        return None
    return math.exp(np.median(logs[: place[0]])), math.exp(np.median(logs[place[0]:]))


@cache
def critical(n: int) -> float:
    """The gap, in standard deviations, that is passed by a share `FALSE_FLAGS` of samples of one mode."""
    rng = np.random.default_rng(n)
    return max(float(np.quantile(_widest(np.sort(draw(rng, (_DRAWS, n)), 1))[1], 1 - FALSE_FLAGS))
               for draw in SHAPES.values())


def _widest(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of sorted numbers the place of its widest gap, in standard deviations within the parts."""
    n = ordered.shape[1]
    least = max(LEAST, math.ceil(SHARE * n))
    places = np.arange(least, n - least + 1)
    sums, squares = ordered.cumsum(1), (ordered**2).cumsum(1)
    left, left_squares = sums[:, places - 1], squares[:, places - 1]
    right, right_squares = sums[:, -1:] - left, squares[:, -1:] - left_squares
    within = left_squares - left**2 / places + right_squares - right**2 / (n - places)
    gaps = (ordered[:, places] - ordered[:, places - 1]) / np.sqrt(np.maximum(within, 1e-30) / (n - 2))
    best = gaps.argmax(1)
    return places[best], gaps[np.arange(len(gaps)), best]
