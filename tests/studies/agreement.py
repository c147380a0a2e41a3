"""What the studies' figures are held to: the tolerance of exact kernels in float64, of the largest figure."""

from __future__ import annotations

from typing import Any

import numpy as np

from reference import tolerance
from reference.case import DType


def agree(found: Any, due: Any, dtype: DType = "float64", scale: float | None = None) -> None:
    """|found − due| is within the tolerance of `scale`, by default the largest |due|."""
    found, due = np.asarray(found), np.asarray(due)
    assert found.shape == due.shape
    size = np.abs(due).max() if scale is None else scale
    error = np.abs(found - due).max()
    assert error <= tolerance(dtype) * size, f"{error} of {size}"


def jacobian(n: int = 6, o: int = 3, p: int = 40, seed: int = 0) -> np.ndarray:
    """(N, O, P), random."""
    return np.random.default_rng(seed).standard_normal((n, o, p))


def kernel_of(jac: np.ndarray) -> np.ndarray:
    """(N, N, O, O)."""
    return np.einsum("nap,mbp->nmab", jac, jac)
