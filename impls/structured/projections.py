"""Random directions in the space of the parameters, drawn cheaply; free of any framework.

The estimate (1/S) Σ_s (J v_s)(J v_s)ᵀ is unbiased whenever E[v_s v_sᵀ] = 1, and drawing v_s costs more than pushing it
through the network (seen: 4 to 12 ns a Gaussian number on one core, against 0.7 ns for the products of 64 examples). So
`reuse` directions share one draw V of a large matrix: v_s = D_s V E_s with diagonals D_s, E_s of random signs. Each v_s
is then distributed as V itself, and any two of them are uncorrelated: for a gradient G the correlation of ⟨G, v_s⟩ and
⟨G, v_t⟩ given the signs is ρ = Σ_ij p_ij d_i e_j with p = G²/‖G‖² and random signs d, e, so E ρ = 0, and the variance
of the estimate is that of independent directions times 1 + (reuse − 1) E ρ², E ρ² = Σ p_ij² = 1/(effective number of
entries of G). Seen in the tests: no more than their standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_REUSES = 64
"""Beyond this the draws are a small part of the time already."""

ENTRIES_PER_REUSE = 16
"""A matrix is reused at most once for each so many of its rows and of its columns: should a gradient live in one row
alone, with entries of one size, then still 1 + (reuse − 1) E ρ² < 1 + 1/16."""

NUMBERS_DRAWN = 1 << 24
"""At a time, at most; so much memory is held for the draws of a group."""

NUMBERS_PUSHED = 1 << 25
"""Entries of directions that go through the network together, at most."""

MOST_AT_ONCE = 1024


@dataclass(frozen=True)
class Layout:
    """How S directions are drawn: `n_groups` groups, each of `n_chunks` chunks of `chunk` directions.

    `reuses`: for each parameter how many directions share a draw. The last directions may be more than S: left out.
    """

    proj_dim: int
    reuses: tuple[int, ...]
    n_groups: int
    n_chunks: int
    chunk: int

    @property
    def group(self) -> int:
        return self.n_chunks * self.chunk

    def draws(self, i: int) -> int:
        """Draws of parameter i in a group."""
        return -(-self.group // self.reuses[i])


def layout(proj_dim: int, shapes: Sequence[tuple[int, ...]]) -> Layout:
    """For parameters of these shapes. It depends on nothing else, so neither do the directions."""
    reuses = tuple(map(_reuse, shapes))
    sizes = [math.prod(shape) for shape in shapes]
    drawn = sum(size / reuse for size, reuse in zip(sizes, reuses, strict=True))
    most = min(MOST_AT_ONCE, max(max(reuses), int(NUMBERS_DRAWN / drawn)))
    n_groups = math.ceil(proj_dim / most)
    group = math.ceil(proj_dim / n_groups)
    n_chunks = math.ceil(group / max(1, NUMBERS_PUSHED // sum(sizes)))
    return Layout(proj_dim, reuses, n_groups, n_chunks, math.ceil(group / n_chunks))


def matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """A parameter as (rows, columns): an axis of signs for each."""
    return shape[0], math.prod(shape[1:])


def _reuse(shape: tuple[int, ...]) -> int:
    if len(shape) < 2:
        return 1
    return max(1, min(MOST_REUSES, min(matrix(shape)) // ENTRIES_PER_REUSE))
