"""uᵀ K v for random u and v over all examples: what a look at a few rows does not see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench.truth.probe import Probe
from reference.case import DType, Outputs
from reference.tolerances import PROJECTION_STANDARD_ERRORS, tolerance

MOST_PASSES = 64
"""Backward passes over all examples for a trace, one for each output; with more outputs none is made."""
DIAGONAL_OUTPUTS = 2
"""Outputs of a diagonal that are projected, drawn by the seed."""


@dataclass(frozen=True, eq=False)
class Projection:
    """`values` is Σ u K v: one number, or one for each of `rows` for the diagonal; `scale` is √(tr K₁ tr K₂) likewise.

    u and v are (N, O) for a full kernel, (N,) for the others.
    """

    outputs: Outputs
    u: np.ndarray
    v: np.ndarray
    rows: tuple[int, ...]
    values: np.ndarray
    scale: np.ndarray

    def of(self, kernel: np.ndarray) -> np.ndarray:
        """The same of a kernel of that form, one row after the other: no float64 copy of it is made."""
        total = np.zeros(self.values.shape)
        for u, row in zip(self.u, kernel, strict=True):
            part = row.astype(np.float64)
            if self.outputs == "full":
                total += np.einsum("a,mab,mb->", u, part, self.v, optimize=True)
            else:
                total += u * (self.v @ (part[:, list(self.rows)] if self.outputs == "diagonal" else part))
        return total

    def distance(self, values: np.ndarray) -> float:
        return float((np.abs(values - self.values) / np.where(self.scale > 0, self.scale, 1.0)).max())

    def fault(self, kernel: np.ndarray, dtype: DType, changed: float) -> str:
        """Why `kernel` cannot be right as a whole, where rounding may change this by `changed` ("" where it can)."""
        found = self.of(kernel)
        distance, limit = self.distance(found), PROJECTION_STANDARD_ERRORS * max(changed, tolerance(dtype))
        if distance <= limit:
            return ""
        i = int(np.argmax(np.abs(found - self.values).ravel()))
        return (f"wrong beyond the examples that were compared: uᵀ K v over all examples, u and v random, is "
                f"{found.ravel()[i]:.9g} where {self.values.ravel()[i]:.9g} is due; error {distance:.3g} > {limit:.3g}")


def draw(probe: Probe, outputs: Outputs, scales: tuple[np.ndarray, np.ndarray], seed: int) -> Projection | None:
    """The projection of a right kernel; None for the trace of too many outputs.

    `scales` are √ of mean K[n,n,a,a] over the examples of x1 and x2 that are known, (O,).
    """
    if outputs == "trace" and probe.n_outputs > MOST_PASSES:
        return None
    rng = np.random.default_rng(seed)
    n1, n2 = len(probe.examples(1)), len(probe.examples(2))
    if outputs == "full":
        rows, u, v = (), rng.standard_normal((n1, probe.n_outputs)), rng.standard_normal((n2, probe.n_outputs))
        scale = np.sqrt(n1 * n2) * np.linalg.norm(scales[0]) * np.linalg.norm(scales[1])
    else:
        u, v = rng.standard_normal(n1), rng.standard_normal(n2)
        some = rng.permutation(probe.n_outputs)[:DIAGONAL_OUTPUTS]
        rows = tuple(int(a) for a in (some if outputs == "diagonal" else range(probe.n_outputs)))
        parts = np.sqrt(n1 * n2) * (scales[0] * scales[1])[list(rows)]
        scale = parts if outputs == "diagonal" else parts.sum()
    blank = Projection(outputs, u, v, rows, np.zeros(np.shape(scale)), np.asarray(scale))
    return replace(blank, values=project(probe, blank))


def project(probe: Probe, projection: Projection) -> np.ndarray:
    """Its values, by reverse mode over all examples."""
    if projection.outputs == "full":
        pulled = pull(probe, 1, projection.u), pull(probe, 2, projection.v)
        return np.asarray(pulled[0] @ pulled[1])
    values = np.array([pull(probe, 1, _at(projection.u, a, probe)) @ pull(probe, 2, _at(projection.v, a, probe))
                       for a in projection.rows])
    return values if projection.outputs == "diagonal" else values.sum()


def pull(probe: Probe, which: int, u: np.ndarray) -> np.ndarray:
    return probe.vjp(probe.examples(which), u)


def _at(u: np.ndarray, output: int, probe: Probe) -> np.ndarray:
    cotangent = np.zeros((len(u), probe.n_outputs))
    cotangent[:, output] = u
    return cotangent
