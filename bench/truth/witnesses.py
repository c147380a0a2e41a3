"""Two witnesses of a user's model that differ in kind, and finite differences where they disagree.

Reverse mode for one example at a time against forward mode for several in a batch: a framework's backward pass may be
wrong (seen in PyTorch 2.13: batch normalisation of one example with a transposed cotangent), and so may its batching
rules (torch.func and linalg.solve).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.truth.probe import Probe, X
from reference.tolerances import DIFFERENCES_TOLERANCE, PROJECTION_STANDARD_ERRORS

N_DIRECTIONS = 3
_STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""Of central differences, relative to the size of the parameters."""


@dataclass(frozen=True)
class Finding:
    """Which witness is to be believed: "reverse", "forward", or "" for neither. `doubt` is by how much they differ
    where that is not settled, relative to the norm of a gradient."""

    believed: str
    doubt: float = 0.0
    note: str = ""


def hear(probe: Probe, x: X, jacobian: np.ndarray, allowed: float, seed: int) -> Finding:
    """Hold `jacobian`, reverse mode's (N, O, P), against forward mode along random directions.

    Derivatives that differ by less than `allowed`, normalised, agree.
    """
    directions = np.random.default_rng(seed).standard_normal((N_DIRECTIONS, probe.n_params))
    reverse = np.einsum("nap,kp->kna", jacobian, directions)
    try:
        forward = np.stack([probe.jvp(x, w) for w in directions])
    except Exception as error:  # whatever a model or its framework raises there: one witness is lost, the other stays
        forward = np.full_like(reverse, np.nan)
        note = f"; forward mode: {type(error).__name__}"
    else:
        note = ""
    norms = np.sqrt(np.einsum("nap,nap->na", jacobian, jacobian))
    if note:
        return _alone(probe, x, directions, reverse, norms, note)
    scale = np.maximum(norms, _norms(forward))
    apart = _largest(reverse - forward, scale)
    if apart <= PROJECTION_STANDARD_ERRORS * allowed:
        return Finding("reverse")
    differences, unsure = _differences(probe, x, directions, scale)
    right = [_largest(each - differences, scale) <= unsure for each in (reverse, forward)]
    told = f"; reverse and forward mode differ by {apart:.1g}, and finite differences bear out "
    if right == [True, False]:
        return Finding("reverse", note=told + "reverse mode")
    if right == [False, True]:
        return Finding("forward", note=told + "forward mode")
    return Finding("", apart, told + ("both" if all(right) else "neither"))


def forward_kernel(probe: Probe, x1: X, x2: X) -> np.ndarray:
    """K(x1, x2) without reverse mode for one example: J₁ (J₂ᵀ e), all examples in a batch, for each row e of x2."""
    n2 = len(x2)
    columns = [probe.jvp(x1, probe.vjp(x2, row.reshape(n2, -1))) for row in np.eye(n2 * probe.n_outputs)]
    return np.stack(columns, -1).reshape(len(x1), probe.n_outputs, n2, probe.n_outputs).transpose(0, 2, 1, 3)


def consistent(probe: Probe, x: X, v: np.ndarray, pulled: np.ndarray, allowed: float, seed: int) -> bool:
    """Whether `pulled` is Jᵀ v, by forward mode along a random direction or, failing that, by finite differences."""
    w = np.random.default_rng(seed).standard_normal(probe.n_params)
    size = float(np.linalg.norm(pulled))
    try:
        if abs(float((v * probe.jvp(x, w)).sum()) - float(pulled @ w)) <= PROJECTION_STANDARD_ERRORS * allowed * size:
            return True
    except Exception:  # no forward mode for this model: differences decide
        pass
    differences, unsure = _differences(probe, x, w[None], np.ones((1, 1)))
    return abs(float((v * differences[0]).sum()) - float(pulled @ w)) <= max(unsure * np.abs(v).sum(),
                                                                            DIFFERENCES_TOLERANCE * size)


def _alone(probe: Probe, x: X, directions: np.ndarray, reverse: np.ndarray, norms: np.ndarray, note: str) -> Finding:
    scale = np.maximum(norms, 1e-300)
    differences, unsure = _differences(probe, x, directions, scale)
    apart = _largest(reverse - differences, scale)
    told = f"{note}, and finite differences {'agree with' if apart <= unsure else 'contradict'} reverse mode"
    return Finding("reverse", note=told) if apart <= unsure else Finding("", apart, told)


def _differences(probe: Probe, x: X, directions: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, float]:
    """Derivatives along the directions, and what they are good for: the step is the one at which they move least."""
    length = float(np.sqrt(probe.n_params))
    tries = np.stack([[_central(probe, x, w, step / length * max(1.0, length * 1e-2)) for w in directions]
                      for step in _STEPS])
    moves = [_largest(tries[i] - tries[i + 1], scale) for i in range(len(_STEPS) - 1)]
    best = int(np.argmin(moves))
    return tries[best + 1], max(DIFFERENCES_TOLERANCE, 3 * moves[best])


def _central(probe: Probe, x: X, w: np.ndarray, h: float) -> np.ndarray:
    return (probe.values(x, h * w) - probe.values(x, -h * w)) / (2 * h)


def _norms(along: np.ndarray) -> np.ndarray:
    return np.sqrt((along**2).mean(0))


def _largest(deviation: np.ndarray, scale: np.ndarray) -> float:
    return float((np.abs(deviation) / np.where(scale > 0, scale, 1.0)).max())


def rows_of(n: int, n_spread: int, n_random: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Examples that are looked at: the first, the last and in between, and some by chance."""
    spread: Sequence[int] = sorted({round(position) for position in np.linspace(0, n - 1, min(n, n_spread))})
    others = [i for i in range(n) if i not in spread]
    return tuple(sorted([*spread, *(int(i) for i in rng.permutation(others)[:n_random])]))
