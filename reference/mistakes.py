"""Known mistakes, recognised by the values or the shape that they lead to, so that a failure names its cause."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reference.case import Outputs
from reference.expected import Expected, select_outputs

# What a mistake makes of a full kernel (N1, N2, O, O). A mistake is looked for in every kind of outputs.
_MISTAKES: tuple[tuple[str, Callable[[np.ndarray], np.ndarray]], ...] = (
    ("the layout (N1, O, N2, O)", lambda full: full.transpose(0, 2, 1, 3)),
    ("the layout (O, N1, O, N2)", lambda full: full.transpose(2, 0, 3, 1)),
    ("the layout (O, O, N1, N2)", lambda full: full.transpose(2, 3, 0, 1)),
    ("the matrix of shape (N1·O, N2·O)", lambda full: full.transpose(0, 2, 1, 3).reshape(
        full.shape[0] * full.shape[2], full.shape[1] * full.shape[2])),
    ("the output axes transposed", lambda full: full.swapaxes(2, 3)),
    ("x1 and x2 swapped", lambda full: full.transpose(1, 0, 3, 2)),
    ("the two example axes transposed", lambda full: full.swapaxes(0, 1)),
    ("x1 and x2 swapped", lambda full: select_outputs(full, "diagonal").swapaxes(0, 1)),
    ("x1 and x2 swapped", lambda full: select_outputs(full, "trace").T),
    ("the mean over outputs for the sum", lambda full: select_outputs(full, "trace") / full.shape[2]),
    ("the sum over all pairs of outputs", lambda full: full.sum((2, 3))),
    ("output 0 only", lambda full: full[:, :, 0, 0]),
    ("output 0 only", lambda full: full[:, :, :1, :1]),
    ("output 0 only", lambda full: full[:, :, 0, :1]),
    ("the outputs axis first: (O, N1, N2)", lambda full: np.moveaxis(select_outputs(full, "diagonal"), 2, 0)),
    ("the trace", lambda full: select_outputs(full, "trace")),
    ("the diagonal", lambda full: select_outputs(full, "diagonal")),
    ("the full kernel", lambda full: full),
)


def recognise(kernel: np.ndarray, expected: Expected, outputs: Outputs, limit: float) -> str:
    """``"; it looks like …"`` where a known mistake or a constant factor explains a wrong kernel of the right shape."""
    truth = expected.outputs(outputs)
    for what, mistake in _MISTAKES:
        wrong = mistake(expected.full)
        if wrong.shape == kernel.shape and not _alike(wrong, truth, limit) and _alike(kernel, wrong, limit):
            return f"; it looks like {what}"
    factor = float(np.vdot(truth, kernel) / np.vdot(truth, truth)) if truth.any() else 0.0
    if factor != 0 and _alike(kernel, factor * truth, limit):
        return f"; every entry is off by the factor {factor:.6g}"
    return ""


def recognise_shape(shape: tuple[int, ...], expected: Expected, outputs: Outputs, right_shape: tuple[int, ...]) -> str:
    """``"; that would be …"`` where a known mistake leads to that shape. `right_shape` is the one asked for."""
    n_outputs = expected.full.shape[2]
    blank = np.broadcast_to(np.float64(0), (*right_shape[:2], n_outputs, n_outputs))
    for what, mistake in _MISTAKES:
        if mistake(blank).shape == shape:
            return f"; that would be the shape of {what}"
    return ""


def _alike(kernel: np.ndarray, other: np.ndarray, limit: float) -> bool:
    return bool(np.abs(kernel - other).max() <= 10 * limit * np.abs(other).max())
