"""The two-dimensional spectrum of frequencies of a kernel, and how much of a kernel lies off its diagonal.

For kernels of points on a grid, in the grid's order: a row's place is then a coordinate. INR_BEP looks at coordinate
networks in this way; where its figures are wrong, both are here, by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from reference import InputError
from studies.matrix import Matrix, as_matrix

FLOOR = 2e-5
"""What INR_BEP adds to a magnitude before the logarithm."""

Weighting = Literal["lin", "const", "inv", "exp"]


@dataclass(frozen=True)
class FourierSummary:
    """Of ln|F K|, F the Fourier transform of rows and columns, frequency 0 in the middle.

    `diagonal_mean`: of the entries i = j. `off_diagonal_mean`: of the others. `high_frequency`: of the blocks of ⌊M/4⌋
    by ⌊M/4⌋ in the corners, where both frequencies are large.
    """

    mean: float
    std: float
    diagonal_mean: float
    off_diagonal_mean: float
    high_frequency: float


def log_magnitude(kernel: Any) -> Matrix:
    """ln(|fftshift(fft2 K)| + 2e-5), (M, M), of a kernel (N, N) or (N, N, O, O); frequency 0 at M // 2."""
    return np.log(np.abs(np.fft.fftshift(np.fft.fft2(as_matrix(kernel)))) + FLOOR)


def fourier_summary(kernel: Any) -> FourierSummary:
    """The summary of `log_magnitude`, each mean over what it names: M² − M entries off the diagonal, four corners."""
    image = log_magnitude(kernel)
    m, quarter = len(image), _quarter(image)
    diagonal = np.diag(image)
    edges = np.r_[:quarter, m - quarter : m]
    return FourierSummary(float(image.mean()), float(image.std()), float(diagonal.mean()),
                          float((image.sum() - diagonal.sum()) / (m * m - m)),
                          float(image[np.ix_(edges, edges)].mean()))


def fourier_summary_inr_bep(kernel: Any) -> FourierSummary:
    """What INR_BEP logs by these names, for comparison with its runs; the last two are not what they are called.

    Its mean off the diagonal is over all M² entries, with zeros on the diagonal; its high frequencies are the means of
    two corners, first with first and last with last, added up.
    """
    image, right = log_magnitude(kernel), fourier_summary(kernel)
    quarter = _quarter(image)
    corners = image[:quarter, :quarter].mean() + image[-quarter:, -quarter:].mean()
    off_diagonal = (image - np.diag(np.diag(image))).mean()
    return FourierSummary(right.mean, right.std, right.diagonal_mean, float(off_diagonal), float(corners))


def diagonal_strength(kernel: Any, weighting: Weighting = "const", *, decay: float = 1.0) -> float:
    """(2/M) Σ_{i>j} (w_ij K_ij)²/(M Σ_i K_ii² + 1): 0 for a diagonal kernel, the larger the more lies off the diagonal.

    With d = |i − j| the weight is d + 1 ("lin"), 1 ("const"), 1/(d + 1) ("inv") or (d + 1) exp(−`decay`·d) ("exp"), as
    in INR_BEP. The 1 keeps it finite and makes it depend on the kernel's scale where that is below 1.
    """
    if weighting not in get_args(Weighting):
        raise InputError(f"weighting={weighting!r} is not one of {', '.join(get_args(Weighting))}")
    if not 0 <= decay < np.inf:
        raise InputError(f"decay must be a number of at least 0, got {decay}")
    matrix = as_matrix(kernel)
    m = len(matrix)
    distance = np.abs(np.subtract.outer(np.arange(m), np.arange(m)))
    weights = {"lin": distance + 1.0, "const": np.ones((m, m)), "inv": 1 / (distance + 1),
               "exp": (distance + 1) * np.exp(-decay * distance)}[weighting]
    off_diagonal = np.sum(np.tril(weights * matrix, -1) ** 2)
    return float(2 / m * off_diagonal / (m * np.sum(np.diag(matrix) ** 2) + 1))


def _quarter(image: Matrix) -> int:
    if len(image) < 4:
        raise InputError(f"the corners are a quarter wide, and the kernel has {len(image)} rows; give at least 4")
    return len(image) // 4
