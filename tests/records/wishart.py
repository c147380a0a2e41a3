"""Random estimates drawn from a kernel alone, at a cost that does not depend on the number of projections."""

from __future__ import annotations

import numpy as np

from reference.pooled import as_matrix, square_root


def draw_kernels(full: np.ndarray, proj_dim: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` estimates with Gaussian projections of the kernel `full` (N, N, O, O) with x2 = x1: (n, N, N, O, O).

    As matrices they are C A Aᵀ Cᵀ/S with C Cᵀ the kernel and A Aᵀ of the Wishart distribution, A drawn as Bartlett's
    triangular matrix (Anderson 2003, An Introduction to Multivariate Statistical Analysis, theorem 7.2.1).
    """
    n_examples, _, n_outputs, _ = full.shape
    factors = square_root(as_matrix(full)) @ bartlett(n_examples * n_outputs, proj_dim, n, rng)
    gram = factors @ factors.swapaxes(1, 2) / proj_dim
    return gram.reshape(n, n_examples, n_outputs, n_examples, n_outputs).swapaxes(2, 3)


def bartlett(rank: int, proj_dim: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """A of shape (n, rank, rank). Fewer projections than the rank: the projections themselves, (n, rank, S)."""
    if proj_dim < rank:
        return rng.standard_normal((n, rank, proj_dim))
    lower = np.tril(rng.standard_normal((n, rank, rank)), -1)
    np.einsum("nii->ni", lower)[:] = np.sqrt(rng.chisquare(proj_dim - np.arange(rank), (n, rank)))
    return lower
