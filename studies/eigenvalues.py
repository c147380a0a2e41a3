"""Numbers that sum a spectrum up: condition, ranks, entropy, trace, spacing.

λ_0 ≥ λ_1 ≥ … are the M eigenvalues, p_i = λ_i/Σλ. What a kernel's rounding leaves below zero counts as zero. Where a
number needs all eigenvalues and the spectrum has the largest alone, that is an `InputError`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float64

from reference import InputError
from studies.matrix import as_matrix, cosine, noise
from studies.spectrum import Spectrum, spectrum

Values = Float64[np.ndarray, " k"]


def condition_number(found: Spectrum) -> float:
    """κ = λ_max/λ_min ≥ 1; infinity where λ_min ≤ 0, that is, where the kernel is singular to its precision."""
    values = _all(found, "the condition number")
    return float(values[0] / values[-1]) if values[-1] > 0 else math.inf


def inverse_condition_number(found: Spectrum) -> float:
    """1/κ = λ_min/λ_max, in [0, 1]; torchntk calls this the condition number. 0 where λ_min ≤ 0."""
    return 1 / condition_number(found)


def log_condition_number_inr_bep(found: Spectrum) -> float:
    """ln(λ_max/|λ_min| + 1e-5) of all but the eigenvalue of least magnitude, which INR_BEP's solver leaves out: for
    comparison with its runs, as κ is that of the one left out. Infinity where what is left has an eigenvalue of 0."""
    values = _all(found, "the condition number")
    if len(values) < 2:
        raise InputError("of one eigenvalue nothing is left where the smallest is dropped; use `condition_number`")
    kept = np.delete(values, np.argmin(np.abs(values)))
    return math.log(kept[0] / abs(kept[-1]) + 1e-5) if kept[-1] and kept[0] > 0 else math.inf


def effective_rank(found: Spectrum) -> float:
    """exp(H(p)), H(p) = −Σ p_i ln p_i, in [1, M] (Roy, Vetterli 2007, The effective rank)."""
    return math.exp(von_neumann_entropy(found))


def numerical_rank(found: Spectrum, threshold: float | None = None) -> int:
    """How many λ_i are above `threshold`·λ_max: unless given, M times the spacing of numbers of the kernel's dtype.

    That is the rank of `numpy.linalg.matrix_rank`. Trackers of plasticity count singular values from 0.01 σ_1 on
    (`threshold=1e-4` for the kernel, whose eigenvalues are their squares).
    """
    limit = (found.size * float(np.finfo(found.dtype).eps) if threshold is None else threshold) * found.values[0]
    if not found.complete and found.values[-1] > limit:
        raise InputError(f"all {len(found.values)} eigenvalues of this spectrum are above {limit:.3g}, and "
                         f"{found.size - len(found.values)} are not in it; ask `top` for more, or `spectrum` for all")
    return int(np.count_nonzero(found.values > limit))


def stable_rank(found: Spectrum) -> float:
    """‖K‖_F²/‖K‖₂² = Σλ²/λ_max², in [1, M] (Rudelson, Vershynin 2007, section 1). That of the Jacobian is
    `intrinsic_dimension`."""
    values = _not_negative(found, "the stable rank")
    return float(np.sum((values / values[0]) ** 2))


def intrinsic_dimension(found: Spectrum) -> float:
    """tr K/‖K‖₂ = Σλ/λ_max, in [1, M] (Tropp 2015, section 7.1): the stable rank ‖J‖_F²/‖J‖₂² of J with K = J Jᵀ."""
    values = _not_negative(found, "the intrinsic dimension")
    return float(np.sum(values / values[0]))


def von_neumann_entropy(found: Spectrum, *, normalised: bool = False) -> float:
    """−Σ p_i ln p_i, in [0, ln M], as papyrus has it; over ln M, in [0, 1], where `normalised`.

    Of the cosine kernel: ``von_neumann_entropy(spectrum(cosine(kernel)))``.
    """
    values = _not_negative(found, "the entropy")
    entropy = _entropy(values)
    return entropy if not normalised else entropy / math.log(len(values)) if len(values) > 1 else 0.0


def diagonal_entropy(kernel: Any) -> float:
    """−Σ d_i ln d_i of d_i = K_ii/tr K (papyrus): ln M where all gradients are of one size."""
    return _entropy(np.diag(as_matrix(kernel)))


def mean_trace(found: Spectrum) -> float:
    """tr K/N, over N examples, of all outputs together: Σ_a of the mean squared size of output a's gradient."""
    return float(_all(found, "the trace").sum() / found.examples)


def spacings(found: Spectrum) -> Values:
    """λ_i − λ_{i+1} ≥ 0, shape (k − 1,)."""
    return -np.diff(found.values)


def mean_spacing_ratio(found: Spectrum) -> float:
    """The mean of min(s_i, s_{i+1})/max(s_i, s_{i+1}) over neighbouring spacings (Oganesyan, Huse 2007).

    0.5307 where eigenvalues repel as in the Gaussian orthogonal ensemble, 2 ln 2 − 1 = 0.3863 where they are
    independent (Atas et al. 2013, table I); it needs no unfolding. Equal eigenvalues count as 0.
    """
    gaps = spacings(found)
    if len(gaps) < 2:
        raise InputError(f"the ratio of neighbouring spacings needs three eigenvalues, got {len(found.values)}")
    small, large = np.minimum(gaps[:-1], gaps[1:]), np.maximum(gaps[:-1], gaps[1:])
    return float(np.mean(np.divide(small, large, out=np.zeros_like(small), where=large > 0)))


def summary(kernel: Any, found: Spectrum | None = None) -> dict[str, float]:
    """All of them by name, of a kernel (N, N) or (N, N, O, O); `found` is its complete spectrum, if it is there.

    The entropy of the cosine kernel is NaN where a gradient is zero, as that of an example whose features are dead.
    """
    whole = spectrum(kernel) if found is None else found
    has_cosines = bool((np.diag(as_matrix(kernel)) > 0).all())
    return {
        "condition_number": condition_number(whole), "inverse_condition_number": inverse_condition_number(whole),
        "largest_eigenvalue": float(whole.values[0]), "smallest_eigenvalue": float(whole.values[-1]),
        "effective_rank": effective_rank(whole), "numerical_rank": float(numerical_rank(whole)),
        "stable_rank": stable_rank(whole), "intrinsic_dimension": intrinsic_dimension(whole),
        "von_neumann_entropy": von_neumann_entropy(whole),
        "von_neumann_entropy_normalised": von_neumann_entropy(whole, normalised=True),
        "cosine_von_neumann_entropy": von_neumann_entropy(spectrum(cosine(kernel))) if has_cosines else math.nan,
        "diagonal_entropy": diagonal_entropy(kernel), "mean_trace": mean_trace(whole),
    }


def _all(found: Spectrum, what: str) -> Values:
    if not found.complete:
        raise InputError(f"{what} needs all {found.size} eigenvalues, and this spectrum has the {len(found.values)} "
                         "largest; use `spectrum`")
    return found.values


def _not_negative(found: Spectrum, what: str) -> Values:
    values = _all(found, what)
    if values[0] <= 0:
        raise InputError(f"{what} is not defined for a kernel whose largest eigenvalue is {values[0]:.3g}; a kernel of "
                         "gradients that are not all zero has a positive one")
    if values[-1] < -noise(found.dtype) * values.sum():
        raise InputError(f"{what} is that of a positive semidefinite kernel, and the smallest eigenvalue is "
                         f"{values[-1]:.3g} beside {values[0]:.3g}; is this the kernel of x1 with itself?")
    return np.maximum(values, 0.0)


def _entropy(weights: np.ndarray) -> float:
    p = weights[weights > 0] / weights.sum()
    return float(-np.sum(p * np.log(p))) + 0.0
