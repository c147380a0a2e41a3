"""How far rounding moves a kernel: what the float64 one changes by when everything in it moves by a unit.

Source: backward error analysis (Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 1).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.truth.probe import Probe
from bench.truth.projections import Projection, project
from reference.case import DType
from reference.tolerances import CONDITIONING_DRAWS, conditioned_tolerance, tolerance

BUDGET_S = 10.0
"""No further draw is begun after this; two are made always."""
MOST_OUTPUTS, MOST_NUMBERS = 4, 1 << 25
"""Outputs that are looked at, and numbers held in Jacobians."""
LARGEST_TOLERANCE = 0.1
"""Above this a kernel is not judged at all: rounding alone may change it by as much."""


@dataclass(frozen=True)
class Conditioning:
    """What rounding in a dtype may change in the entries of a kernel, normalised, and in its projections."""

    dtype: DType
    change: float
    projected: dict[str, float]
    n_draws: int

    @property
    def amplification(self) -> float:
        """The change in units of the dtype's rounding."""
        return self.change / float(np.finfo(self.dtype).eps)

    @property
    def tolerance(self) -> float:
        return conditioned_tolerance(self.dtype, self.change)

    @property
    def remark(self) -> str:
        """One sentence where the tolerance is not the table's, else nothing."""
        if self.tolerance <= tolerance(self.dtype):
            return ""
        return (f"this network amplifies {self.dtype} rounding {self.amplification:.2g} times; "
                f"tolerance {self.tolerance:.1g}")


def conditioning(probe: Probe, dtype: DType, rows: tuple[Sequence[int], Sequence[int]],
                 projections: Sequence[Projection], seed: int) -> Conditioning:
    """From a few draws on a few of the examples `rows` and outputs, and on all examples for the projections."""
    outputs = np.random.default_rng(seed).permutation(probe.n_outputs)[:MOST_OUTPUTS]
    most = max(1, MOST_NUMBERS // (probe.n_params * len(outputs)))
    rows1, rows2 = (list(some)[:most] for some in rows)
    exact = _jacobians(probe, rows1, rows2, outputs)
    norms1, norms2 = (np.sqrt(np.einsum("nap,nap->na", j, j)) for j in exact)
    scale = np.einsum("na,mb->nmab", norms1, norms2)
    changes, projected, begun = [], {p.outputs: [0.0] for p in projections}, time.process_time()
    for i, size in enumerate(_order(CONDITIONING_DRAWS)):
        if i > 1 and time.process_time() - begun > BUDGET_S:
            break
        moved = probe.rounded(size * float(np.finfo(dtype).eps), seed + 1 + i)
        deviation = np.abs(_kernel(*_jacobians(moved, rows1, rows2, outputs)) - _kernel(*exact))
        changes.append(float(np.divide(deviation, scale, out=np.zeros_like(scale), where=scale > 0).max()) / size)
        for projection in projections:
            value = project(moved, projection)
            projected[projection.outputs].append(projection.distance(value) / size)
    return Conditioning(dtype, _largest(changes), {name: _largest(some) for name, some in projected.items()},
                        len(changes))


def _order(draws: Sequence[float]) -> list[float]:
    """The first one and the last one first: where time is short, these are made."""
    return [draws[0], draws[-1], *draws[1:-1]]


def _largest(changes: Sequence[float]) -> float:
    return float(np.nan_to_num(max(changes), nan=np.inf, posinf=np.inf))


def _jacobians(probe: Probe, rows1: Sequence[int], rows2: Sequence[int], outputs: np.ndarray) -> tuple[np.ndarray, ...]:
    first = probe.jacobian(probe.examples(1, rows1), list(outputs))
    if probe.same and list(rows1) == list(rows2):
        return first, first
    return first, probe.jacobian(probe.examples(2, rows2), list(outputs))


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("nap,mbp->nmab", first, second, optimize=True)
