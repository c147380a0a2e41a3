"""Kernels too large for a matrix: products with vectors alone.

t = ∞ is solved by conjugate gradients (Hestenes & Stiefel 1952; SciPy's). At other times φ(K) b is read off the
tridiagonal matrix of Lanczos' process on b (Druskin & Knizhnerman 1989; Saad 1992, 10.1137/0729014): after m products
it is V φ(T) e₁ ‖b‖, and m grows as √(λ_max c t) where steps of an integration would grow as λ_max c t. The m vectors
are kept and orthogonalised twice, so that rounding does not repeat eigenvalues; memory n·m numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, cg

from reference import InputError, tolerance
from reference.case import DType
from studies.matrix import noise
from studies.prediction.modes import Modes
from studies.prediction.resolution import Settled, settle

Vector = np.ndarray
MOST_PRODUCTS = 4000

JUDGED = 10.0
"""The residual that conjugate gradients update differs from the true one by rounding; this much more is a failure."""


@dataclass(frozen=True, eq=False)
class Products:
    """A kernel as an operator of n rows, which answers as the matrices of `dense` do (B = 1), but for the response."""

    operator: LinearOperator
    ridge: float
    precision: DType

    def __post_init__(self) -> None:
        """Raise `InputError` where uᵀK v and vᵀK u differ, of which neither process here would take notice."""
        u, v = np.random.default_rng(0).standard_normal((2, self.operator.shape[0]))
        Kv = self.operator.matvec(v)
        apart = abs(u @ Kv - v @ self.operator.matvec(u))
        if apart > noise(self.precision) * np.linalg.norm(u) * np.linalg.norm(Kv) / np.sqrt(len(u)):
            raise InputError("the kernel of the training examples is not symmetric: uᵀK v and vᵀK u of two random "
                             f"vectors are {apart:.3g} apart, of {abs(u @ Kv):.3g}; give products of examples with "
                             "themselves")

    @property
    def settled(self) -> Settled:
        """Nothing is added and nothing left out: what is singular is an error."""
        return Settled(np.zeros((1, 1)), np.ones((1, self.operator.shape[0]), bool))

    def coefficients(self, phi: Modes, r: np.ndarray) -> np.ndarray:
        def one(column: Vector) -> Vector:
            if not column.any():
                return column
            return self._solved(column) if np.isinf(phi.reach) else self._of_lanczos(phi, column)

        return np.stack([one(column) for column in r[0].T], -1)[None]

    def moved(self, phi: Modes, r: np.ndarray) -> np.ndarray:
        return self.operator.matmat(self.coefficients(phi, r)[0])[None]

    def response(self, phi: Modes, test_train: np.ndarray) -> np.ndarray:
        raise InputError("covariances need kernels that are arrays; kernel-vector products give the mean")

    def _product(self, vector: Vector) -> Vector:
        return np.asarray(self.operator.matvec(vector), dtype=np.float64) + self.ridge * vector

    def _solved(self, b: Vector) -> Vector:
        relative = tolerance(self.precision)
        shifted = LinearOperator(self.operator.shape, matvec=self._product, dtype=np.dtype(np.float64))  # pyright: ignore[reportCallIssue]
        a = np.zeros_like(b)
        if b @ self._product(b) > 0:  # else the first step is none
            a, _ = cg(shifted, b, rtol=relative, maxiter=MOST_PRODUCTS)
        left = np.linalg.norm(self._product(a) - b) / np.linalg.norm(b)
        if not left <= JUDGED * relative:
            values = eigenvalues(self._product, b)
            raise InputError(f"conjugate gradients leave {left:.2g} of the targets after at most {MOST_PRODUCTS} "
                             f"products: the smallest eigenvalue found is {values.min():.6g}, the largest "
                             f"{values.max():.6g}, in products good to {relative:.0e}. Give a ridge, or a finite time")
        return a

    def _of_lanczos(self, phi: Modes, b: Vector) -> Vector:
        relative, due, largest, last = tolerance(self.precision), 8, 0.0, np.full_like(b, np.inf)
        for state in lanczos(self._product, b):
            if len(state.diagonal) < due and not state.complete:
                continue
            due += due // 4 + 8
            values, vectors = eigh_tridiagonal(state.diagonal, state.beside)
            largest = float(np.abs(values).max())
            settle(values[None], np.array([[2 * relative * largest]]), phi.reach, "error")
            found = np.linalg.norm(b) * (vectors @ (phi(np.maximum(values, 0)) * vectors[0])) @ state.basis
            if state.complete or np.linalg.norm(found - last) <= relative * np.linalg.norm(found):
                return found
            last = found
        raise InputError(f"{MOST_PRODUCTS} kernel-vector products do not reach c·t = {phi.reach:.3g} (largest "
                         f"eigenvalue {largest:.6g}); give a ridge, an earlier time, or infinity")


class Process(NamedTuple):
    """Lanczos' after m products: orthonormal rows (m, n), diagonal and off-diagonal of the m × m matrix; `complete`
    where the rows span all that the vector reaches."""

    basis: np.ndarray
    diagonal: np.ndarray
    beside: np.ndarray
    complete: bool


def lanczos(product: Callable[[Vector], Vector], b: Vector) -> Iterator[Process]:
    """Its states after 1, 2, … products, to a complete one or `MOST_PRODUCTS`."""
    rows, diagonal, beside, size = [b / np.linalg.norm(b)], [], [], 0.0
    for m in range(1, min(len(b), MOST_PRODUCTS) + 1):
        w = product(rows[-1])
        diagonal.append(w @ rows[-1])
        size = max(size, float(np.linalg.norm(w)))
        basis = np.array(rows)
        for _ in range(2):
            w = w - basis.T @ (basis @ w)
        rest = float(np.linalg.norm(w))
        complete = m == len(b) or rest <= tolerance("float64") * size
        yield Process(basis, np.array(diagonal), np.array(beside), complete)
        if complete:
            return
        rows.append(w / rest)
        beside.append(rest)


def eigenvalues(product: Callable[[Vector], Vector], b: Vector, products: int = 200) -> np.ndarray:
    """Those that Lanczos' process on b finds in so many products, the outermost first."""
    *_, (_, last) = zip(range(products), lanczos(product, b), strict=False)
    return np.asarray(eigh_tridiagonal(last.diagonal, last.beside, eigvals_only=True))
