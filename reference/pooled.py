"""Is a random estimate free of bias? Its entries pooled, for biases too small to show in any one of them.

A symmetric kernel is here the matrix G over the R = N·O pairs (example, output). Its estimate with S projections is
Ĝ = (1/S) Σ_s (J v_s)(J v_s)ᵀ, and a pooled statistic is tr(W Ĝ) for a fixed positive semidefinite W with tr(W G) = 1:
again a mean of S copies of a form Σ_i μ_i z_i², with μ the eigenvalues of W^½ G W^½. So Chernoff's bound of
`reference.statistics` judges it, for Gaussian projections exactly as rigorously. The statistics are

- "trace", W ∝ 1: any bias of the trace, e.g. a parameter left out;
- "kernel", W ∝ G⁺: a factor on the whole kernel, where every direction weighs the same, so that it is the sharpest;
- "output a", W ∝ (G_aa)⁺ on the block of output a: a factor on that block.

Rademacher projections: for λ > 0, exp(λ|Cv|²) is the average of exp(√(2λ) h·Cv) over h ~ N(0, 1), and
cosh t ≤ exp(t²/2), so their upper tail is below the Gaussian bound, whatever C; the lower one as `reference.statistics`
says. tests/records/false_alarms.py computes both bounds for every case.

`projections_needed` is the S at which a bias is found with the power asked for. It is a bound, too: with the threshold
k at S·I(k) = log(2/α), an estimate `1 + bias` times too large stays below it with probability at most
exp(−S I(k/(1 + bias))), and likewise one that is too small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from reference.compare import Comparison
from reference.statistics import chernoff_rate, standard_errors_allowed
from reference.tolerances import BIAS_TO_FIND, POWER

# Eigenvalues of G below this share of the largest are taken for 0: what rounding leaves of them would be blown up.
_SMALLEST = 1e-6
_BISECTIONS = 60


@dataclass(frozen=True, eq=False)
class Pooled:
    """The statistics of one kernel: their names, the W, and the μ_i, padded with 0."""

    names: tuple[str, ...]
    weights: Float64[np.ndarray, "T R R"]
    eigenvalues: Float64[np.ndarray, "T R"]

    @classmethod
    def of(cls, full: Float64[np.ndarray, "N N O O"]) -> Pooled:
        """Of the true kernel of a case with x2 = x1."""
        gram, n_outputs = as_matrix(full), full.shape[-1]
        of_output = [np.arange(len(gram)) % n_outputs == a for a in range(n_outputs)] if n_outputs > 1 else []
        live = {f"output {a}": rows for a, rows in enumerate(of_output) if np.diag(gram)[rows].any()}
        weights = [np.eye(len(gram)) / np.trace(gram), _whitening(gram, np.full(len(gram), True))]
        weights += [_whitening(gram, rows) for rows in live.values()]
        root = square_root(gram)
        return cls(("trace", "kernel", *live), np.array(weights),
                   np.array([np.linalg.eigvalsh(root.T @ weight @ root) for weight in weights]))

    def statistics(self, full: np.ndarray) -> np.ndarray:
        """tr(W Ĝ), each 1 on average, of estimates (…, N, N, O, O): (…, T)."""
        return np.einsum("tij,...ij->...t", self.weights, as_matrix(full))

    def standard_errors(self, full: np.ndarray, proj_dim: int) -> np.ndarray:
        """z = √(2 S I) of every statistic, as in `reference.statistics`: (…, T)."""
        return np.sqrt(2 * proj_dim * chernoff_rate(self.eigenvalues, self.statistics(full)))


def compare_pooled(full: np.ndarray, pooled: Pooled, proj_dim: int, level: float) -> Comparison:
    """A right estimate, float64 and of the right form, fails with probability below `level`."""
    z, allowed = pooled.standard_errors(full, proj_dim), standard_errors_allowed(len(pooled.names), 1, level)
    worst = int(z.argmax())
    if z[worst] <= allowed:
        return Comparison("ok", float(z[worst]), allowed)
    return Comparison("wrong", float(z[worst]), allowed, (
        f"biased: {pooled.names[worst]} is {pooled.statistics(full)[worst]:.5f} times what is due, {z[worst]:.3g} "
        f"standard errors off, {allowed:.3g} are allowed, with {proj_dim} projections"))


def projections_needed(pooled: Pooled, level: float, bias: float = BIAS_TO_FIND, power: float = POWER) -> int:
    """The fewest projections with which every statistic finds a factor 1 ± `bias` on itself with probability `power`.

    `level` is that of `compare_pooled`.
    """
    needed = [_needed(pooled.eigenvalues, math.log(2 * len(pooled.names) / level), math.log(1 / (1 - power)), factor)
              for factor in (1 + bias, 1 - bias)]
    return math.ceil(np.max(needed))


def _needed(mu: np.ndarray, to_fail: float, to_miss: float, factor: float) -> np.ndarray:
    """Per statistic: the S at which one threshold k, between 1 and `factor`, has S I(k) and S I(k/factor) as due."""
    right, biased = np.ones(len(mu)), np.full(len(mu), factor)  # where the two laws have their means
    for _ in range(_BISECTIONS):
        k = (right + biased) / 2
        near = chernoff_rate(mu, k) / to_fail < chernoff_rate(mu, k / factor) / to_miss
        right, biased = np.where(near, k, right), np.where(near, biased, k)
    return to_fail / chernoff_rate(mu, right)


def as_matrix(full: np.ndarray) -> np.ndarray:
    """Kernels (…, N, N, O, O) as matrices (…, N·O, N·O)."""
    *batch, n, _, n_outputs, _ = full.shape
    return np.swapaxes(full, -3, -2).reshape(*batch, n * n_outputs, n * n_outputs)


def square_root(gram: np.ndarray) -> np.ndarray:
    """A matrix C with C Cᵀ = `gram`, its columns in the order of growing eigenvalues."""
    lengths, directions = np.linalg.eigh(gram)
    return directions * np.sqrt(np.maximum(lengths, 0))


def whitener(gram: np.ndarray) -> Float64[np.ndarray, "R r"]:
    """A matrix D, one column for each eigenvalue that is not 0, with Dᵀ gram D = 1."""
    lengths, directions = np.linalg.eigh(gram)
    live = lengths > _SMALLEST * lengths[-1]
    return directions[:, live] / np.sqrt(lengths[live])


def _whitening(gram: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The pseudo-inverse of the block of `rows`, over its rank, in a matrix that is 0 elsewhere."""
    block = whitener(gram[np.ix_(rows, rows)])
    weight = np.zeros_like(gram)
    weight[np.ix_(rows, rows)] = block @ block.T / block.shape[1]
    return weight
