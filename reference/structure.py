"""What every kernel with x2 = x1 must be: symmetric and positive semidefinite."""

from __future__ import annotations

import numpy as np

from reference.case import DType, Outputs
from reference.tolerances import conditioned_tolerance

# Rows of the largest matrix whose eigenvalues are computed (a fraction of a second). Of a larger kernel the leading
# principal submatrix is taken, which has to be positive semidefinite as well; what lies outside it is not looked at.
LARGEST_MATRIX = 1024


def structural_fault(kernel: np.ndarray, outputs: Outputs, dtype: DType, change: float = 0.0) -> str:
    """Why the float64 array `kernel`, computed in `dtype` with x2 = x1, cannot be a kernel; empty where it can.

    The axes are those of the convention: (N, N, O, O), (N, N, O) or (N, N). `change` is what rounding alone may change
    in a value (see `reference.tolerances.conditioned_tolerance`).
    """
    return next(filter(None, (_matrix_fault(matrix, dtype, change) for matrix in matrices(kernel, outputs))), "")


def matrices(kernel: np.ndarray, outputs: Outputs) -> list[np.ndarray]:
    """The symmetric matrices that make up a kernel: one (N·O, N·O), or one (N, N) for each output or the trace."""
    if outputs == "full":
        rows = kernel.shape[0] * kernel.shape[2]
        return [kernel.transpose(0, 2, 1, 3).reshape(rows, rows)]
    return [kernel] if outputs == "trace" else list(np.moveaxis(kernel, 2, 0))


def _matrix_fault(matrix: np.ndarray, dtype: DType, change: float) -> str:
    diagonal = np.diag(matrix)
    if diagonal.min() < 0:
        return f"a diagonal entry is negative ({diagonal.min():.3g})"
    norms = np.sqrt(diagonal)
    excess = np.abs(matrix - matrix.T) - conditioned_tolerance(dtype, change, "symmetry") * np.outer(norms, norms)
    if excess.max() > 0:
        row, column = (int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
        return (f"x2 = x1, but the kernel is not symmetric: {matrix[row, column]:.9g} against "
                f"{matrix[column, row]:.9g} at row {row} and column {column} of the matrix of shape {matrix.shape}")
    block = matrix[:LARGEST_MATRIX, :LARGEST_MATRIX]
    smallest = float(np.linalg.eigvalsh((block + block.T) / 2)[0])
    trace = float(np.trace(block))
    if smallest < -conditioned_tolerance(dtype, change, "positivity") * trace:
        return f"the kernel is not positive semidefinite: smallest eigenvalue {smallest:.3g}, trace {trace:.3g}"
    return ""
