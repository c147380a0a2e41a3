"""Whether two sides differ, and by how much: exact tests, exact intervals, and how many processes it takes.

A value is a process's (the median of its calls, say), never a call's: calls of one process share its addresses, its
core and its moment. All is done with logarithms, so that a change is a ratio; differences are of B − A.

- Sides that were measured in turns are paired: Wilcoxon's signed-rank test of the differences, and the median of their
  pairwise means (Hodges, Lehmann 1963, doi:10.1214/aoms/1177704172) with the interval that the test gives.
- Else Mann's and Whitney's test, the median of all differences, and its interval.

Both are exact for whatever distribution the noise has, also with few processes (Hollander, Wolfe, Chicken,
"Nonparametric Statistical Methods", 3rd edition, sections 3.1–3.3 and 4.1–4.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from reference import InputError

Values = Sequence[float] | np.ndarray

FAMILY = 0.05
"""How often a comparison of many cells, in which nothing has changed, may say otherwise of any."""
SINGLE = 0.01
"""How often it may say so of one cell."""
CONFIDENCE = 0.95
LEAST_HISTORY = 8
"""Earlier changes of a cell from which on its own noise is judged by them."""
FENCE = 3.0
"""Interquartile ranges beyond the third quartile."""
_MOST_PROCESSES = 10_000


@dataclass(frozen=True)
class Change:
    """B's time over A's: 1.1 is ten percent slower. `low` and `high` are its interval: 0 and infinite where too few
    processes were measured for any; `p` is of the test that nothing has changed, both directions."""

    ratio: float
    low: float
    high: float
    p: float
    paired: bool
    n_a: int
    n_b: int


def paired_change(a: Values, b: Values, confidence: float = CONFIDENCE) -> Change:
    """Of positive values that belong together: a[i] and b[i] of one turn. At least one of each."""
    if len(a) != len(b):
        raise InputError(f"values in pairs must be as many on both sides, got {len(a)} and {len(b)}")
    d = _logs(b) - _logs(a)
    first, second = np.triu_indices(len(d))
    means = np.sort((d[first] + d[second]) / 2)
    low, high = _interval(means, _signed_rank_counts(len(d)), confidence)
    return Change(_ratio(float(np.median(means))), low, high, _p_paired(d), True, len(a), len(b))


def unpaired_change(a: Values, b: Values, confidence: float = CONFIDENCE) -> Change:
    """Of positive values, at least one a side, that were not measured in turns."""
    x, y = _logs(a), _logs(b)
    differences = np.sort((y[:, None] - x[None, :]).ravel())
    low, high = _interval(differences, _rank_sum_counts(len(x), len(y)), confidence)
    return Change(_ratio(float(np.median(differences))), low, high, _p_unpaired(x, y), False, len(a), len(b))


def least_p(n: int, paired: bool) -> float:
    """The smallest p that n processes a side can give: 2/2ⁿ in pairs, else 2/C(2n, n)."""
    return min(1.0, 2 / (2**n if paired else math.comb(2 * n, n)))


def processes_needed(tests: int, paired: bool, looks: int = 1) -> int:
    """Processes a side from which on one of so many tests (of a cell, by a clock) can be significant after Holm's
    correction, at each of so many looks.

    Without pairs 7 a side reach 5 % in up to 85 cells, 10 in up to 4,600. That they can does not say that they will:
    noise may ask for more.
    """
    if tests < 1:
        raise InputError(f"a comparison needs at least one cell, got {tests}")
    return next(n for n in range(1, _MOST_PROCESSES) if can_tell(n, tests, paired, looks))


def can_tell(n: int, tests: int, paired: bool, looks: int = 1) -> bool:
    """Whether n processes a side can make one of so many tests significant."""
    return least_p(n, paired) * looks <= min(FAMILY / tests, SINGLE)


def holm(p: Values) -> list[float]:
    """The p values, adjusted so that all of them are held to one level together.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = np.argsort(p, kind="stable")
    adjusted, highest = [1.0] * len(p), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


def fence(ratios: Values) -> float | None:
    """How large a change of this cell has to be to stand out from its earlier ones, as a ratio above 1: the third
    quartile of their sizes |log ratio| and three interquartile ranges more. None for fewer than `LEAST_HISTORY`.

    As rustc-perf does with relative changes from commit to commit (its docs/comparison-analysis.md).
    """
    if len(ratios) < LEAST_HISTORY:
        return None
    first, third = np.quantile(np.abs(_logs(ratios)), (0.25, 0.75))
    return math.exp(third + FENCE * (third - first))


def _logs(values: Values) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.size == 0 or not (np.isfinite(array) & (array > 0)).all():
        raise InputError(f"times to compare must be positive and finite, at least one a side, got {list(values)[:5]}")
    return np.log(array)


def _ratio(log: float) -> float:
    return math.exp(log) if log < math.log(1e300) else math.inf


def _p_paired(d: np.ndarray) -> float:
    """Where differences are 0, or alike but for the sign, the distribution is that of these very numbers."""
    sizes = np.abs(d)
    if not sizes.any():
        return 1.0
    if sizes.all() and len(np.unique(sizes)) == len(d):
        return _tail(_signed_rank_counts(len(d)), int((sizes.argsort().argsort()[d > 0] + 1).sum()))
    from scipy.stats import rankdata  # imported in a second, and not for every command

    ranks = rankdata(sizes) * (d != 0)
    return _p_of(2 * float(ranks[d > 0].sum()), np.rint(2 * ranks[d != 0]).astype(int))


def _tail(counts: np.ndarray, value: int) -> float:
    """That a statistic with these counts, which are symmetric, is as far from its mean, in both directions."""
    value = min(value, len(counts) - 1 - value)
    return min(1.0, 2 * float(counts[: value + 1].sum() / counts.sum()))


def _p_of(doubled_sum: float, doubled_ranks: np.ndarray) -> float:
    """That signs at random give a sum of positive ranks as far from its mean (doubled, as ties have half ranks)."""
    counts = np.ones(1)
    for rank in doubled_ranks:
        counts = np.concatenate([counts, np.zeros(rank)]) / 2
        counts[rank:] += counts[: len(counts) - rank].copy()
    far = np.abs(np.arange(len(counts)) - doubled_ranks.sum() / 2) >= abs(doubled_sum - doubled_ranks.sum() / 2)
    return min(1.0, float(counts[far].sum()))


def _p_unpaired(x: np.ndarray, y: np.ndarray) -> float:
    """Where values are alike, by the normal approximation, which never says more here than the exact test can."""
    if len(np.unique([*x, *y])) == len(x) + len(y):
        return _tail(_rank_sum_counts(len(x), len(y)), int((y[:, None] > x[None, :]).sum()))
    from scipy.stats import mannwhitneyu

    if len({*x, *y}) == 1:
        return 1.0  # nothing to tell them by
    return max(float(mannwhitneyu(y, x, method="asymptotic").pvalue), least_p(min(len(x), len(y)), False))


def _interval(ordered: np.ndarray, counts: np.ndarray, confidence: float) -> tuple[float, float]:
    """The order statistics between which the test does not reject; `counts` are of the test's statistic."""
    shares = np.cumsum(counts) / counts.sum()
    outside = int(np.searchsorted(shares, (1 - confidence) / 2, side="right"))  # so many may be cut off at either end
    if outside == 0:
        return 0.0, math.inf
    return _ratio(float(ordered[outside - 1])), _ratio(float(ordered[len(ordered) - outside]))


@cache
def _signed_rank_counts(n: int) -> np.ndarray:
    """In how many of the 2ⁿ choices of signs the positive ranks sum to 0, 1, …, n(n + 1)/2."""
    counts = np.ones(1)
    for rank in range(1, n + 1):
        counts = np.convolve(counts, np.bincount([0, rank]))
    return counts


@cache
def _rank_sum_counts(n: int, m: int) -> np.ndarray:
    """In how many choices of n among n + m ranks Mann's and Whitney's U is 0, 1, …, n·m: the Gaussian binomial."""
    counts = np.ones(1)
    for i in range(1, n + 1):
        counts = np.convolve(counts, [1.0, *[0.0] * (m + i - 1), -1.0])  # × (1 − xᵐ⁺ⁱ) / (1 − xⁱ)
        for k in range(i, len(counts)):
            counts[k] += counts[k - i]
        counts = counts[: i * m + 1]
    return counts
