"""The one comparison of a computed kernel with the true one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reference.case import DType, Outputs
from reference.expected import Expected
from reference.mistakes import recognise, recognise_shape
from reference.structure import structural_fault
from reference.tolerances import ToleranceKind, conditioned_tolerance, tolerance


@dataclass(frozen=True)
class Comparison:
    """`error` is max |K − K_ref| / √(K_ref[n,n,a,a] K_ref[m,m,b,b]), None where K could not be compared.

    `reason` is empty where the kernel is right; else it names the largest deviation, where it is, and the known mistake
    that gives such values, where there is one.
    """

    status: Literal["ok", "wrong", "undecided", "nonfinite"]
    error: float | None
    tolerance: float
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def compare(kernel: Any, expected: Expected, *, outputs: Outputs, dtype: DType, symmetric: bool,
            examples1: Sequence[int] | None = None, examples2: Sequence[int] | None = None,
            shape: tuple[int, ...] | None = None, kind: ToleranceKind = "exact", change: float = 0.0) -> Comparison:
    """Hold `kernel` against `expected`: form first, then values, then (x2 = x1) symmetry and positive semidefiniteness.

    With `examples1`, `examples2` and `shape`, `kernel` is the whole kernel of that shape, `expected` holds these rows
    and columns only, and only they are compared in value; finiteness and symmetry are checked on all of it. `kind` is
    that of the tolerance of the values, and `change` what rounding alone may change in them (see
    `reference.tolerances.conditioned_tolerance`).
    """
    malformed = check_form(kernel, expected, outputs=outputs, dtype=dtype, shape=shape)
    if malformed is not None:
        return malformed
    limit = conditioned_tolerance(dtype, change, kind)
    rows = range(kernel.shape[0]) if examples1 is None else examples1
    columns = range(kernel.shape[1]) if examples2 is None else examples2
    values = kernel.astype(np.float64)
    part = values[np.ix_(rows, columns)]
    errors = normalised(part - expected.outputs(outputs), expected.scale(outputs))
    error = float(errors.max())
    if error > limit:
        reason = _deviation(part, expected.outputs(outputs), errors, limit, rows, columns)
        return Comparison("wrong", error, limit, reason + recognise(part, expected, outputs, limit))
    fault = structural_fault(values, outputs, dtype, change) if symmetric else ""
    return Comparison("wrong" if fault else "ok", error, limit, fault)


def check_form(kernel: Any, expected: Expected, *, outputs: Outputs, dtype: DType,
               shape: tuple[int, ...] | None = None) -> Comparison | None:
    """What is wrong with the type, dtype, shape or finiteness of `kernel`; None where they are right."""
    limit = tolerance(dtype, "exact")
    right_shape = expected.outputs(outputs).shape if shape is None else tuple(shape)
    if not isinstance(kernel, np.ndarray):
        return Comparison("wrong", None, limit, f"the kernel is a {type(kernel).__name__}, not a NumPy array")
    if kernel.dtype != np.dtype(dtype):
        return Comparison("wrong", None, limit, f"the kernel has dtype {kernel.dtype}, asked for was {dtype}")
    if kernel.shape != right_shape:
        reason = f"the kernel has shape {kernel.shape}, asked for was {outputs!r} of shape {right_shape}"
        return Comparison("wrong", None, limit, reason + recognise_shape(kernel.shape, expected, outputs, right_shape))
    bad = np.argwhere(~np.isfinite(kernel))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        reason = f"{len(bad)} of {kernel.size} entries are not finite, the first at {where} ({kernel[where]})"
        return Comparison("nonfinite", None, limit, reason)
    return None


def normalised(deviation: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """|deviation| / scale. Where the scale is 0 the true entry is 0 too: 0 where it was met, else infinity."""
    size = np.abs(deviation)
    unscaled = np.where(size == 0, 0.0, np.inf)
    return np.divide(size, scale, out=unscaled, where=scale > 0)


def _deviation(part: np.ndarray, truth: np.ndarray, errors: np.ndarray, limit: float,
               rows: Sequence[int], columns: Sequence[int]) -> str:
    n, m, *rest = (int(i) for i in np.unravel_index(np.argmax(errors), errors.shape))
    where = (rows[n], columns[m], *rest)
    got, due, count = part[n, m, *rest], truth[n, m, *rest], int((errors > limit).sum())
    return (f"error {errors.max():.3g} > {limit:.3g} at {where}: {got:.9g} where {due:.9g} is due; "
            f"{count} of {errors.size} entries are wrong")
