"""Kernels that fit into memory, as matrices: their eigendecomposition, for any time, and Cholesky's, for infinity.

Both answer three questions of φ, a function of `modes`, and r, of shape (B, n, C): the coefficients φ(K + ρ) r; what
they move the training outputs by, K φ(K + ρ) r; and the response K(test, train) φ(K + ρ), of shape (B, m, n).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lapack

from studies.prediction.modes import Modes
from studies.prediction.resolution import Settled, Singular, settle


@dataclass(frozen=True, eq=False)
class Eigensystem:
    """K = V diag(λ) Vᵀ, computed once: (B, n) and (B, n, n). O(n³) time, n² numbers."""

    matrices: np.ndarray
    rounding: np.ndarray

    @cached_property
    def _decomposed(self) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(self.matrices)
        return values, vectors

    @property
    def largest(self) -> float:
        return float(self._decomposed[0].max())

    def until(self, ct: float, ridge: float, singular: Singular) -> InEigenbasis:
        """Ready for predictions until c·t. Raises `InputError` as `settle` does."""
        values, vectors = self._decomposed
        settled = settle(values + ridge, self.rounding, ct, singular)
        return InEigenbasis(np.maximum(values, 0), vectors, ridge + settled.jitter, settled)


@dataclass(frozen=True, eq=False)
class InEigenbasis:
    """λ (B, n) without those of rounding, V (B, n, n), and what is added to λ, (B, 1)."""

    values: np.ndarray
    vectors: np.ndarray
    shift: np.ndarray
    settled: Settled

    def coefficients(self, phi: Modes, r: np.ndarray) -> np.ndarray:
        return self._apply(self._weights(phi), r)

    def moved(self, phi: Modes, r: np.ndarray) -> np.ndarray:
        return self._apply(self.values * self._weights(phi), r)

    def response(self, phi: Modes, test_train: np.ndarray) -> np.ndarray:
        return ((test_train @ self.vectors) * self._weights(phi)[:, None]) @ self.vectors.swapaxes(-1, -2)

    def _weights(self, phi: Modes) -> np.ndarray:
        return np.where(self.settled.kept, phi(self.values + self.shift), 0)

    def _apply(self, weights: np.ndarray, r: np.ndarray) -> np.ndarray:
        return self.vectors @ (weights[..., None] * (self.vectors.swapaxes(-1, -2) @ r))


@dataclass(frozen=True, eq=False)
class Factorised:
    """Cholesky factors of K + ρ, for t = ∞ alone, where φ(K + ρ) is its inverse. A tenth of an eigendecomposition."""

    factors: tuple[np.ndarray, ...]
    ridge: float
    settled: Settled

    def coefficients(self, phi: Modes, r: np.ndarray) -> np.ndarray:
        return np.stack([cho_solve((factor, True), each) for factor, each in zip(self.factors, r, strict=True)])

    def moved(self, phi: Modes, r: np.ndarray) -> np.ndarray:
        return r - self.ridge * self.coefficients(phi, r) if self.ridge else r

    def response(self, phi: Modes, test_train: np.ndarray) -> np.ndarray:
        return self.coefficients(phi, test_train.swapaxes(-1, -2)).swapaxes(-1, -2)


def factorised(matrices: np.ndarray, rounding: np.ndarray, ridge: float) -> Factorised | None:
    """The factors of K + ρ; None where an eigenvalue may be below the kernel's rounding, which `settle` is to judge.

    1/‖(K + ρ)⁻¹‖₁, which LAPACK estimates from the factor, is at most the smallest eigenvalue.
    """
    factors = []
    for matrix, least in zip(matrices, rounding[:, 0], strict=True):
        shifted = matrix + ridge * np.eye(len(matrix))
        try:
            factor, _ = cho_factor(shifted, lower=True)
        except np.linalg.LinAlgError:
            return None
        norm = np.abs(shifted).sum(0).max()
        inverse_condition, _ = lapack.dpocon(factor, norm, uplo="L")  # pyright: ignore[reportAttributeAccessIssue]
        if inverse_condition * norm <= least:
            return None
        factors.append(factor)
    B, n = matrices.shape[:2]
    return Factorised(tuple(factors), ridge, Settled(np.zeros((B, 1)), np.ones((B, n), bool)))
