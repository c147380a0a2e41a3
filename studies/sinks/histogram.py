"""A spectrum as a histogram."""

from __future__ import annotations

import numpy as np

BINS = 64


def histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (64,) and edges (65,), from the smallest finite value to the largest; empty where there is none."""
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if not finite.size:
        return np.zeros(0, np.int64), np.zeros(0)
    return np.histogram(finite, _edges(float(finite.min()), float(finite.max())))


def _edges(low: float, high: float) -> np.ndarray:
    """Equal ones apart; of one value, or of values too close to be told apart, a little around it."""
    edges = np.linspace(low, high, BINS + 1)
    if (np.diff(edges) > 0).all():
        return edges
    room = max(abs(low), abs(high), 1.0) * 1e-6
    return np.linspace(low - room, high + room, BINS + 1)
