"""Alignment: of kernels with each other, and of targets with a kernel and its eigenvectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float64

from reference import InputError
from studies.matrix import Matrix, as_array, as_matrix
from studies.spectrum import Spectrum


def kernel_alignment(kernel1: Any, kernel2: Any, *, centred: bool = False) -> float:
    """⟨K1, K2⟩_F/(‖K1‖_F ‖K2‖_F), in [0, 1] for kernels (Cristianini et al. 2001).

    Both are (N, N), or both (N, N, O, O). `centred`: of H K H, H = I − 11ᵀ/N over the examples, for each pair of
    outputs (Cortes, Mohri, Rostamizadeh 2012); the same as linear CKA (Kornblith et al. 2019, section 3).
    """
    shapes = np.shape(kernel1), np.shape(kernel2)
    if shapes[0] != shapes[1]:
        raise InputError(f"kernels of shapes {shapes[0]} and {shapes[1]} are not aligned; give both of the same "
                         "examples and the same outputs")
    n = shapes[0][0] if shapes[0] else 0
    first, second = (_matrix(kernel, f"kernel{i}", n, centred) for i, kernel in ((1, kernel1), (2, kernel2)))
    return _cosine(first, second)


def target_alignment(kernel: Any, y: Any, *, centred: bool = False) -> float:
    """The alignment of the kernel with that of the targets, Y Yᵀ (Cristianini et al. 2001).

    `y` is (N,) or (N, O), for a kernel (N, N, O, O) the latter. Classes are given as numbers, such as ±1, or as one
    column each. `centred` centres both kernels over the examples.
    """
    n = next(iter(np.shape(kernel)), 0)
    matrix = _matrix(kernel, "kernel", n, centred)
    rows = target_rows(y, len(matrix), n)
    if centred:
        by_example = rows.reshape(n, -1)
        rows = (by_example - by_example.mean(0)).reshape(rows.shape)
        if not rows.any():
            raise InputError("the targets are constant, and nothing once centred; leave centred out")
    return _cosine(matrix, rows @ rows.T)


def energy(found: Spectrum, y: Any) -> Float64[np.ndarray, " k"]:
    """The share of the targets along each eigenvector, ‖v_iᵀ Y‖²/‖Y‖², shape (k,); over all M they sum to 1.

    Along v_i gradient flow learns at the rate λ_i (Jacot, Gabriel, Hongler 2018, section 5; Arora et al. 2019, theorem
    4.1). `y` as for `target_alignment`.
    """
    rows = target_rows(y, found.size, found.examples)
    return np.sum((found.vectors.T @ rows) ** 2, axis=1) / np.sum(rows**2)


def energy_curve(found: Spectrum, y: Any) -> Float64[np.ndarray, " k"]:
    """The share of the targets within the span of the first 1, 2, … k eigenvectors: rising, to 1 with all M."""
    return np.cumsum(energy(found, y))


def target_rows(y: Any, size: int, examples: int) -> Float64[np.ndarray, "M c"]:
    """The targets with a row for each of the kernel's: (N, T) beside a kernel (N, N), (N·O, 1) beside a full one."""
    rows = as_array(y, "y").astype(np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if len(rows) == examples < size == rows.size:
        rows = rows.reshape(size, 1)
    if rows.ndim != 2 or len(rows) != size:
        due = f"({size},) or ({size}, T)" if size == examples else (
            f"({examples}, {size // examples}), one column for each output, classes as one-hot ones")
        raise InputError(f"y has shape {np.shape(y)} beside a kernel of {size} rows; it must be {due}")
    if not rows.any():
        raise InputError("y is all zeros, which lie along no eigenvector; check the targets")
    return rows


def _matrix(kernel: Any, name: str, n: int, centred: bool) -> Matrix:
    matrix = as_matrix(kernel, name)
    if not centred:
        return matrix
    blocks = matrix.reshape(n, len(matrix) // n, -1)
    rows = (blocks - blocks.mean(0)).reshape(matrix.shape)
    blocks = rows.T.reshape(n, len(matrix) // n, -1)
    return (blocks - blocks.mean(0)).reshape(matrix.shape).T


def _cosine(first: Matrix, second: Matrix) -> float:
    product = math.sqrt(np.vdot(first, first) * np.vdot(second, second))
    if product == 0:
        raise InputError("a kernel of zeros (or one that is constant, once centred) is aligned with nothing")
    return float(np.vdot(first, second) / product)
