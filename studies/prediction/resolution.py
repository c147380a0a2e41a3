"""What a kernel's own rounding leaves of its small eigenvalues, and what becomes of the rest.

Entries of a kernel are right to τ √(K_ii K_jj), τ of the one tolerance table. A symmetric matrix of such errors,
independent of each other, has norm 2 τ tr K/√n (Wigner's semicircle): eigenvalues below that are noise, and what they
say of the outputs is noise from the time on at which they would be learned. That is never passed over in silence.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from reference import InputError, tolerance
from reference.case import DType

Singular = Literal["error", "jitter", "truncate"]
"""Where eigenvalues are below the kernel's rounding: raise `InputError` with the smallest one; add to the diagonal what
lifts it to `JITTER` times the rounding; or leave the outputs along these eigenvectors as they were at t = 0."""

JITTER = 10.0


class Settled(NamedTuple):
    """`jitter`: what is added to the diagonal, for each matrix (B, 1); `kept`: the eigenvectors in use, (B, n)."""

    jitter: np.ndarray
    kept: np.ndarray


def resolution(matrices: np.ndarray, precision: DType) -> np.ndarray:
    """Eigenvalues below this are rounding: (B, 1) for matrices (B, n, n) that were computed in that precision."""
    traces = np.trace(matrices, axis1=-2, axis2=-1)
    return (2 * tolerance(precision) * traces / np.sqrt(matrices.shape[-1]))[:, None]


def settle(values: np.ndarray, rounding: np.ndarray, ct: float, singular: Singular) -> Settled:
    """What to do about `values`, the eigenvalues (B, n) of kernel and ridge, for predictions until c·t."""
    check_singular(singular)
    if (values < -rounding).any():
        raise InputError(f"the kernel is not positive semidefinite: its smallest eigenvalue is {values.min():.6g}, of "
                         f"largest {values.max():.6g}, and rounding explains {rounding.max():.2g}. One computed in "
                         "float32 and converted needs precision=\"float32\"; a ridge above the former lifts it")
    unresolved = (values <= rounding) & (np.isinf(ct) or ct * rounding >= 1)
    nothing = np.zeros_like(rounding)
    if not unresolved.any():
        return Settled(nothing, ~unresolved)
    if singular == "error":
        raise InputError(f"the kernel is singular to its precision: {unresolved.sum()} of {values.size} eigenvalues "
                         f"are below its rounding, {rounding.max():.2g} (smallest {values.min():.6g}, largest "
                         f"{values.max():.6g}), and count at c·t = {ct:.3g}. Give a ridge, singular=\"jitter\" or "
                         "\"truncate\", an earlier time, or a float64 kernel")
    if singular == "truncate":
        return Settled(nothing, ~unresolved)
    lifted = np.maximum(JITTER * rounding - values.min(-1, keepdims=True), 0)
    return Settled(np.where(unresolved.any(-1, keepdims=True), lifted, nothing), np.ones_like(unresolved))


def check_singular(singular: Singular) -> None:
    if singular not in get_args(Singular):
        raise InputError(f"singular={singular!r} is not one of {', '.join(get_args(Singular))}")
