"""Ranks of a layer's features, and how they fall from layer to layer: whether a network can still learn.

σ_1 ≥ σ_2 ≥ … are the singular values of the features Φ (N, h) of N examples, each flattened. The definitions are those
by which plasticity is tracked (Kumar et al. 2021, arXiv:2010.14498; Lyle et al. 2023, arXiv:2303.01486; Dohare et al.
2024, Nature 632).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from reference import InputError

Drops = Literal["ratio", "difference"]
Definition = Literal["clipped", "signed"]

PROPORTION = 0.99
"""Of the sum that the approximate ranks have to reach."""

EPSILON = 0.01
"""What a singular value is of the largest, at least, for the numerical rank."""


def singular_values(features: np.ndarray) -> np.ndarray:
    """σ, descending, (min(N, h),) in float64, of features (N, …). Raises `InputError` where they are not finite."""
    rows = flat(features)
    if not np.isfinite(rows).all():
        raise InputError("features or weights hold NaN or infinite values; has the training diverged?")
    return np.linalg.svd(rows, compute_uv=False)


def flat(features: np.ndarray) -> np.ndarray:
    """(N, h), in float64, or complex128 of complex ones."""
    array = np.asarray(features)
    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    return rows.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def ranks(sigma: np.ndarray, *, shape: tuple[int, int] | None = None, proportion: float = PROPORTION,
          epsilon: float = EPSILON) -> dict[str, float]:
    """All of them, by name, of singular values in descending order; 0 where all are zero.

    - ``effective``: exp(−Σ p ln p), p = σ/Σσ (Roy, Vetterli 2007, The effective rank)
    - ``approximate``: the least k with Σ_{i≤k} σ_i² ≥ `proportion` Σσ² (Yang et al. 2020, arXiv:1909.12255)
    - ``approximate_l1``: the least k with Σ_{i≤k} σ_i ≥ `proportion` Σσ (Kumar et al. 2021, srank)
    - ``numerical``: #{σ_i ≥ `epsilon` σ_1}
    - ``nuclear``: Σσ, the nuclear norm
    - ``exact``: #{σ_i > max(N, h) ε σ_1}, ε that of float64, as `numpy.linalg.matrix_rank` has it; `shape` is (N, h)
    """
    n, h = shape or (len(sigma), len(sigma))
    largest = float(sigma[0]) if len(sigma) else 0.0
    if largest == 0:
        return dict.fromkeys(("effective", "approximate", "approximate_l1", "numerical", "nuclear", "exact"), 0.0)
    p = sigma[sigma > 0] / sigma.sum()
    return {
        "effective": math.exp(-float(np.sum(p * np.log(p)))),
        "approximate": _least(sigma**2, proportion), "approximate_l1": _least(sigma, proportion),
        "numerical": float(np.count_nonzero(sigma >= epsilon * largest)), "nuclear": float(sigma.sum()),
        "exact": float(np.count_nonzero(sigma > max(n, h) * np.finfo(np.float64).eps * largest)),
    }


def _least(weights: np.ndarray, proportion: float) -> float:
    reached = np.cumsum(weights) / weights.sum() >= proportion
    return float(np.argmax(reached) + 1) if reached.any() else float(len(weights))  # none: rounding, at proportion 1


class RankDrop(NamedTuple):
    """How the rank falls over the layers."""

    gini: float
    """Inequality of the drops: 0 where all layers lose alike, towards 1 where one loses all."""
    centroid: float
    """The place, in layers, around which the ranks (clipped) or the drops (signed) lie."""
    area: float
    """Under the curve of ranks, of what it would be if nothing were lost; 1 for no loss."""


def rank_drop(curve: Sequence[float], definition: Definition = "clipped", drops: Drops = "ratio") -> RankDrop:
    """Of the ranks r_0, r_1, …, r_L, of which r_0 is that of the first layer, or min(batch, its features).

    The drops are d_i = r_{i−1} − r_i, i = 1 … L, or as "ratio" that over r_{i−1} (0 where that is 0). There are two
    rival definitions, both in a repository that tracks plasticity beside the kernel, in the module named
    (DorDorHome/architectural_and_learning_on_loss_landscape):

    - "clipped" (rank_drop_dynamics): d_i is at least 0 in the Gini coefficient; centroid Σ i r_i/Σ r_i, i from 0, of
      the ranks themselves
    - "signed" (zeroth_order_features): d_i as it is; centroid Σ i d_i/Σ d_i, i from 1, of the drops

    The Gini coefficient is Σ(2i − L − 1) d_(i)/(L Σ d), d_(i) ascending; the area Σ (r_{i−1} + r_i)/2 over r_0 L, in
    both. What is divided by zero is NaN, but the Gini coefficient of no drop at all, clipped, is 0: all are equal.
    """
    r = np.asarray(curve, np.float64)
    for name, value, allowed in (("definition", definition, get_args(Definition)), ("drops", drops, get_args(Drops))):
        if value not in allowed:
            raise InputError(f"{name}={value!r} is not one of {', '.join(allowed)}")
    if r.ndim != 1 or len(r) < 2:
        raise InputError(f"a rank falls over at least two ranks, got {list(curve)}; track another layer")
    d = r[:-1] - r[1:]
    if drops == "ratio":
        d = np.divide(d, r[:-1], out=np.zeros_like(d), where=r[:-1] > 0)
    if definition == "clipped":
        d = np.maximum(d, 0.0)
        gini = gini_coefficient(d) if d.any() else 0.0
        centroid = _over(float(np.arange(len(r)) @ r), float(r.sum()))
    else:
        gini = gini_coefficient(d)
        centroid = _over(float(np.arange(1, len(d) + 1) @ d), float(d.sum()))
    return RankDrop(gini, centroid, _over(float(np.sum(r[:-1] + r[1:]) / 2), float(r[0]) * len(d)))


def gini_coefficient(values: np.ndarray) -> float:
    """Σ(2i − n − 1) x_(i)/(n Σ x), x_(i) ascending: half the mean |x_i − x_j| over the mean (Gini 1912)."""
    ascending, n = np.sort(values), len(values)
    return _over(float((2 * np.arange(1, n + 1) - n - 1) @ ascending), n * float(ascending.sum()))


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
