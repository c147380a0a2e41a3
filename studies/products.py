"""Functions v ↦ K v as SciPy's operators. That of a network's kernel is `impls.ntk_operator`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

Multiply = Callable[[np.ndarray], np.ndarray]
"""v ↦ K v, of (M,)."""


def square(multiply: Multiply, size: int, dtype: Any = np.float64) -> LinearOperator:
    """The function v ↦ K v of vectors (M,) as SciPy's operator, which also takes (M, 1) and (M, k)."""
    return LinearOperator((size, size), matvec=lambda v: multiply(v.reshape(size)),  # pyright: ignore[reportCallIssue]
                          dtype=np.dtype(dtype))  # pyright: ignore[reportCallIssue]
