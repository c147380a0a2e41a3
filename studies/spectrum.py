"""Eigenvalues and eigenvectors of a kernel: all of them, or the largest by products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float64
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from reference import InputError
from reference.case import DType
from studies.matrix import as_array, as_matrix, as_real, dtype_of
from studies.products import Multiply, square


@dataclass(frozen=True, eq=False)
class Spectrum:
    """K v_i = λ_i v_i with λ_0 ≥ λ_1 ≥ …

    `values` (k,) and `vectors` (M, k), its columns orthonormal; M = N·O, with rows in the order (n, a). `examples` is
    N. `dtype` is that of the kernel's entries, which bounds how many of the small eigenvalues mean anything.
    """

    values: Float64[np.ndarray, " k"]
    vectors: Float64[np.ndarray, "M k"]
    examples: int
    dtype: DType = "float64"

    @property
    def size(self) -> int:
        """M, the number of eigenvalues that there are."""
        return self.vectors.shape[0]

    @property
    def complete(self) -> bool:
        """Whether all of them are here."""
        return len(self.values) == self.size


def spectrum(kernel: Any) -> Spectrum:
    """All eigenvalues, none dropped, and eigenvectors of a kernel (N, N) or (N, N, O, O), in float64; time (N·O)³.

    Raises `InputError` for a kernel that has no spectrum (`studies.matrix.as_matrix`).
    """
    array = as_array(kernel, "kernel")
    values, vectors = scipy.linalg.eigh(as_matrix(array))
    return Spectrum(values[::-1].copy(), vectors[:, ::-1].copy(), len(array), dtype_of(array))


def top(kernel: Any, k: int, *, size: int | None = None, examples: int | None = None, accuracy: float = 0.0,
        most: int | None = None, seed: int = 0) -> Spectrum:
    """The k largest eigenvalues and their vectors by Lanczos with implicit restarts (Lehoucq, Sorensen, Yang 1998).

    `kernel` is an array as in `spectrum`, a SciPy `LinearOperator`, or a function v ↦ K v of arrays (M,), with M as
    `size`: for N·O of which the matrix does not fit, products by `impls.ntk_operator`, with N as
    `examples` where O > 1. `accuracy` is relative to an eigenvalue, 0 for that of float64; `most` bounds the restarts;
    `seed` is of the first vector.

    Raises `InputError` for k outside 1 … M − 1, and where fewer than k converged.
    """
    operator, dtype, n = _operator(kernel, size)
    m = operator.shape[0]
    if not isinstance(k, int | np.integer) or not 1 <= k < m:
        raise InputError(f"k={k}: Lanczos finds 1 to {m - 1} of the {m} eigenvalues; `spectrum` gives all of them")
    start = np.random.default_rng(seed).standard_normal(m)
    if not operator.matvec(start).any():
        raise InputError("the kernel is zero, and Lanczos has nothing to begin with; check the network")
    try:
        values, vectors = eigsh(operator, k, which="LA", v0=start, tol=accuracy,  # pyright: ignore[reportArgumentType]
                                maxiter=most)
    except ArpackNoConvergence as error:
        raise InputError(f"of the {k} largest eigenvalues {len(error.eigenvalues)} converged; ask for fewer, or for "
                         f"less than accuracy={accuracy:g}, or allow more than most={most} restarts") from error
    order = np.argsort(values)[::-1]
    return Spectrum(values[order], vectors[:, order], examples or n, dtype)


def _operator(kernel: Any, size: int | None) -> tuple[LinearOperator, DType, int]:
    """Its products, the dtype of its entries, and N, or M where that is all that is known."""
    if isinstance(kernel, LinearOperator):
        if kernel.shape[0] != kernel.shape[1]:
            raise InputError(f"the operator must be square, got {kernel.shape}; give that of x1 with itself")
        given = as_real(np.zeros(0, kernel.dtype), "the operator")
        return square(_checked(kernel.matvec, kernel.shape[0]), kernel.shape[0]), dtype_of(given), kernel.shape[0]
    if callable(kernel):
        if size is None:
            raise InputError("a function v ↦ K v does not tell its size: top(product, k, size=M)")
        return square(_checked(kernel, size), size), "float64", size
    array = as_array(kernel, "kernel")
    matrix = as_matrix(array)
    return square(matrix.__matmul__, len(matrix)), dtype_of(array), len(array)


def _checked(product: Callable[..., Any], size: int) -> Multiply:
    def checked(v: np.ndarray) -> np.ndarray:
        found = np.asarray(product(v), np.float64)
        if found.shape != (size,) or not np.isfinite(found).all():
            what = "numbers that are not finite" if found.shape == (size,) else f"shape {found.shape}"
            raise InputError(f"the product of the kernel with a vector ({size},) gave {what}; it has to give ({size},)")
        return found

    return checked
