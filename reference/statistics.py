"""Is a random estimate of the kernel within its sampling error?

The estimate is K̂ = (1/S) Σ_s (J1 v_s)(J2 v_s)ᵀ, J the Jacobian, with S independent projections v_s ~ N(0, I), the
same for x1 and x2. An entry of K̂, or of its trace, is a mean of S independent copies of a quadratic form Q in
Gaussian variables. Q has the law of Σ_i μ_i z_i², z_i ~ N(0, 1), where the μ_i follow from the true kernel alone: with
G the Gram matrix of the 2R rows of J1 and J2 that the entry reads (R = 1, for the trace R = O), they are the
eigenvalues of ½ G [[0, I], [I, 0]]. For one entry they are (K_nm ± √(K_nn K_mm))/2, hence
Var K̂ = (K_nm² + K_nn K_mm)/S.

Chernoff's bound is then rigorous, at every S: with ψ(λ) = log E exp(λQ) = −½ Σ_i log(1 − 2λμ_i) and
I(k) = sup_λ (λk − ψ(λ)), a deviation at least as unlikely as the one seen has probability at most 2 exp(−S I(K̂))
(Boucheron, Lugosi, Massart 2013, Concentration Inequalities, section 2.2). It is reported as z = √(2 S I): to leading
order the deviation in standard errors.

Rademacher projections have a smaller variance: v² = 1 takes the diagonal of the quadratic form in parameter space out
of the randomness. What remains is bounded by the Gaussian form with that diagonal set to 0 (exchange one coordinate
after another: cosh t ≤ exp(t²/2)), which to leading order in the deviation is below the bound used here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from reference.case import DType, InputError, Outputs
from reference.compare import Comparison, check_form
from reference.expected import Expected
from reference.structure import structural_fault
from reference.tolerances import FALSE_ALARM_LEVEL, tolerance

_BISECTIONS = 100
_LARGEST_TILT = 1e8


def compare_stochastic(kernel: Any, expected: Expected, *, outputs: Outputs, dtype: DType, symmetric: bool,
                       proj_dim: int, n_checks: int, examples1: Sequence[int] | None = None,
                       examples2: Sequence[int] | None = None, shape: tuple[int, ...] | None = None,
                       level: float = FALSE_ALARM_LEVEL) -> Comparison:
    """Hold a random estimate against `expected`, as `reference.compare` does an exact kernel: form first, then values.

    `proj_dim` is S. Over `n_checks` such comparisons, and every entry of each, a right method fails with probability
    below `level`. In the result `error` and `tolerance` are in standard errors. For `examples1`,
    `examples2` and `shape` see `reference.compare`.
    """
    if proj_dim < 1 or n_checks < 1:
        raise InputError(f"proj_dim and n_checks must be positive, got {proj_dim} and {n_checks}")
    threshold = standard_errors_allowed(expected.outputs(outputs).size, n_checks, level)
    malformed = check_form(kernel, expected, outputs=outputs, dtype=dtype, shape=shape)
    if malformed is not None:
        return replace(malformed, tolerance=threshold)
    rows = range(kernel.shape[0]) if examples1 is None else examples1
    columns = range(kernel.shape[1]) if examples2 is None else examples2
    values = kernel.astype(np.float64)
    z = standard_errors(values[np.ix_(rows, columns)], expected, outputs, dtype, proj_dim)
    error = float(z.max())
    if error > threshold:
        reason = _reason(values, expected.outputs(outputs), z, threshold, rows, columns)
        return Comparison("wrong", error, threshold, reason)
    fault = structural_fault(values, outputs, dtype) if symmetric else ""
    return Comparison("wrong" if fault else "ok", error, threshold, fault)


def standard_errors_allowed(n_entries: int, n_checks: int, level: float = FALSE_ALARM_LEVEL) -> float:
    """The z at which 2 exp(−z²/2) is this comparison's share, per entry, of `level` (Bonferroni)."""
    return math.sqrt(2 * math.log(2 * n_entries * n_checks / level))


def standard_errors(values: np.ndarray, expected: Expected, outputs: Outputs, dtype: DType,
                    proj_dim: int) -> np.ndarray:
    """z = √(2 S I) of every entry, shaped like `values`; what rounding in `dtype` may have added is taken off first."""
    truth = expected.outputs(outputs)
    rounding = tolerance(dtype, "exact") * expected.scale(outputs)
    nearest = np.clip(truth, values - rounding, values + rounding)
    return np.sqrt(2 * proj_dim * chernoff_rate(form_eigenvalues(expected, outputs), nearest))


def form_eigenvalues(expected: Expected, outputs: Outputs) -> np.ndarray:
    """The μ_i of every entry, on a last axis of length 2 (trace: 2 O). They sum to the true value of the entry."""
    if outputs == "trace":
        return _trace_eigenvalues(expected)
    truth, scale = expected.outputs(outputs), expected.scale(outputs)
    return np.stack([(truth + scale) / 2, (truth - scale) / 2], axis=-1)


def _trace_eigenvalues(expected: Expected) -> Float64[np.ndarray, "N1 N2 twoO"]:
    n1, n2, n_outputs, _ = expected.full.shape
    gram = np.empty((n1, n2, 2, n_outputs, 2, n_outputs))
    gram[:, :, 0, :, 0] = expected.block1[:, None]
    gram[:, :, 1, :, 1] = expected.block2[None, :]
    gram[:, :, 0, :, 1] = expected.full
    gram[:, :, 1, :, 0] = expected.full.swapaxes(2, 3)
    lengths, directions = np.linalg.eigh(gram.reshape(n1, n2, 2 * n_outputs, 2 * n_outputs))
    root = directions * np.sqrt(np.maximum(lengths, 0))[..., None, :]  # gram = root rootᵀ
    swapped = np.concatenate([root[..., n_outputs:, :], root[..., :n_outputs, :]], axis=-2)
    return np.linalg.eigvalsh(root.swapaxes(-1, -2) @ swapped / 2)


def chernoff_rate(eigenvalues: np.ndarray, values: np.ndarray) -> np.ndarray:
    """I(k) = sup_λ (λk − ψ(λ)) of Q = Σ μ_i z_i² with μ on the last axis of `eigenvalues`; infinite where Q = 0 ≠ k.

    Found by bisection on ψ'(λ) = k. Any λ gives a valid bound, so that an error of the search makes it but weaker.
    """
    size = np.abs(eigenvalues).max(-1)
    unit = np.where(size > 0, size, 1.0)
    mu, k = eigenvalues / unit[..., None], values / unit
    low, high = _range_of_tilts(mu)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = (mu / (1 - 2 * middle[..., None] * mu)).sum(-1) < k
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    tilt = (low + high) / 2
    rate = tilt * k + np.log1p(-2 * tilt[..., None] * mu).sum(-1) / 2
    return np.where(size > 0, np.maximum(rate, 0.0), np.where(values == 0, 0.0, np.inf))


def _range_of_tilts(mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The λ with 1 − 2λμ_i > 0 for all i, short of the ends, and up to ±1e8 where they are unbounded."""
    half = 0.5 * (1 - 1e-12)
    high = half / np.maximum(mu.max(-1), half / _LARGEST_TILT)
    low = half / np.minimum(mu.min(-1), -half / _LARGEST_TILT)
    return low, high


def _reason(values: np.ndarray, truth: np.ndarray, z: np.ndarray, threshold: float,
            rows: Sequence[int], columns: Sequence[int]) -> str:
    n, m, *rest = (int(i) for i in np.unravel_index(np.argmax(z), z.shape))
    where = (rows[n], columns[m], *rest)
    factor = float(np.vdot(truth, values[np.ix_(rows, columns)]) / np.vdot(truth, truth))
    return (f"{z.max():.3g} standard errors off, {threshold:.3g} are allowed, at {where}: {values[where]:.6g} where "
            f"{truth[n, m, *rest]:.6g} is due; {int((z > threshold).sum())} of {z.size} entries are too far off; "
            f"the best constant factor is {factor:.4g}")
