"""A kernel as one symmetric matrix: the form in which it has a spectrum."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from jaxtyping import Float64

from impls.frameworks.arrays import to_numpy
from reference import InputError, tolerance
from reference.case import DType

Matrix = Float64[np.ndarray, "M M"]


def as_real(value: Any, name: str) -> np.ndarray:
    """The framework's own array, or a list, as a NumPy array of real numbers, in its dtype; `InputError` for anything
    else: complex numbers, of which the imaginary part would be lost, masked ones, text, or rows of unlike lengths."""
    try:
        array = to_numpy(value)
    except TypeError:
        try:
            array = np.asarray(value)
        except ValueError as error:  # rows of unlike lengths
            raise InputError(f"{name} is no array of numbers ({error})") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if np.ma.is_masked(value):
        raise InputError(f"{name} has {np.ma.count_masked(value)} masked entries; leave these examples out")
    return array


def as_array(value: Any, name: str) -> np.ndarray:
    """As `as_real`, and finite; `InputError` for anything else."""
    array = as_real(value, name)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{name} has {np.count_nonzero(~np.isfinite(array))} entries that are not finite, the first "
                         f"at {where} ({array[where]}); mend the network or the data that it came from")
    return array


def as_matrix(kernel: Any, name: str = "kernel") -> Matrix:
    """(N, N), or (N, N, O, O) with rows and columns in the order (n, a), as float64 (N·O, N·O), made symmetric exactly.

    Nothing is dropped: row n·O + a is output a of example n. Raises `InputError` for other shapes, for numbers that are
    not finite, and for a kernel that is not symmetric, such as one between x1 and x2.
    """
    array = as_array(kernel, name)
    if array.ndim not in (2, 4) or array.shape[0] != array.shape[1] or array.shape[2:3] != array.shape[3:]:
        raise InputError(f"{name} must have shape (N, N) or (N, N, O, O), got {array.shape}; a spectrum is that of the "
                         'kernel of x1 with itself (x2=None), with outputs "full" or "trace"')
    if array.size == 0:
        raise InputError(f"{name} is empty, of shape {array.shape}; it needs at least one example")
    matrix = array.astype(np.float64)
    if matrix.ndim == 4:
        rows = matrix.shape[0] * matrix.shape[2]
        matrix = matrix.transpose(0, 2, 1, 3).reshape(rows, rows)
    return _symmetric(matrix, dtype_of(array), name)


def dtype_of(array: np.ndarray) -> DType:
    """What an entry was rounded to: "float32" for anything shorter than float64 but integers, which are exact."""
    return cast(DType, "float32" if array.dtype.kind == "f" and array.dtype.itemsize < 8 else "float64")


def noise(dtype: DType) -> float:
    """What a kernel may be off by, relative to its largest entry or its trace, before it is taken for a mistake.

    The square root of the table's tolerance: half the digits. Rounding of networks that amplify it a thousand times
    stays below; the kernel between two batches, or one that is not positive semidefinite, is far above.
    """
    return math.sqrt(tolerance(dtype, "symmetry"))


def cosine(kernel: Any) -> Matrix:
    """K_ij / √(K_ii K_jj), the cosines between the gradients: ones on the diagonal. Shape (M, M) as of `as_matrix`.

    Raises `InputError` where a diagonal entry is not positive.
    """
    matrix = as_matrix(kernel)
    norms = np.diag(matrix)
    if not (norms > 0).all():
        row = int(np.argmin(norms))
        raise InputError(f"kernel has {norms[row]:.3g} on its diagonal at row {row}: that gradient has no direction; "
                         "leave the example out")
    return matrix / np.sqrt(np.multiply.outer(norms, norms))


def _symmetric(matrix: Matrix, dtype: DType, name: str) -> Matrix:
    difference, size = np.abs(matrix - matrix.T), np.abs(matrix).max()
    if difference.max() > noise(dtype) * size:
        i, j = (int(k) for k in np.unravel_index(np.argmax(difference), difference.shape))
        raise InputError(f"{name} is not symmetric: {matrix[i, j]:.6g} at {i, j} and {matrix[j, i]:.6g} at {j, i} "
                         "(rows of the matrix over examples and outputs); give the kernel of x1 with itself")
    return (matrix + matrix.T) / 2
