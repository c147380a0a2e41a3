"""The one tolerance table. Errors are relative to √(K[n,n,a,a] K[m,m,b,b]), so a tolerance has no unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from reference.case import DType

ToleranceKind = Literal["exact", "symmetry", "positivity", "closed_form"]

# exact: |K − K_ref| / √(K_ref[n,n,a,a] K_ref[m,m,b,b]). An entry is the inner product of two gradients; each passes
#   through 2L matrix products of n terms, whose rounding errors are random in sign, so the error is about
#   ε √(2L) √n ≈ 20 ε for L = 4 and n = 64, and the frameworks' elementary functions add a few ε each.
#   float32 (ε = 1.2e-7): 1e-5 is 84 ε, a margin of four. float64 (ε = 2.2e-16): 1e-12 is 4500 ε, which also covers the
#   rounding of float64 references (a proof's radius is below 2⁻⁷⁰ and does not count) and is still 1e5 times below
#   what one float32 step would leave.
#   Seen: plain JAX is off by at most 7e-16 and 4e-7 on the shared cases, and by 8e-7 in float32 on MLPs of width 1024.
# symmetry: |K[n,m,a,b] − K[m,n,b,a]|, normalised with K's own diagonal. Two exact entries may differ by twice the exact
#   tolerance; their rounding errors are no larger than those above, so the exact tolerance itself is asked for.
# positivity: τ in λ_min ≥ −τ tr K. With |E_ij| ≤ τ d_i d_j, d_i² = K_ii, the rounding errors E of an exact kernel have
#   ‖E‖₂ ≤ τ Σ d_i² = τ tr K, so a kernel within the exact tolerance never fails. As tr K = r λ_max with r the effective
#   rank, this is λ_min ≥ −c ε λ_max with c = 84 r in float32 and 4500 r in float64.
# closed_form: two values of one entry of an infinite-width kernel of ReLU. Its closed form reads the angle between two
#   examples off its cosine, arccos(1 − δ) ≈ √(2δ), so that a rounding error of ε in the cosine of parallel inputs (x1
#   equal to x2, say) is one of about √ε in the angle, and of at most that, relatively, in the entry; L layers add
#   theirs: 4 √ε for L = 4. Not for finite widths, where no angle is taken.
TOLERANCES: Mapping[tuple[DType, ToleranceKind], float] = {
    ("float32", "exact"): 1e-5,
    ("float64", "exact"): 1e-12,
    ("float32", "symmetry"): 1e-5,
    ("float64", "symmetry"): 1e-12,
    ("float32", "positivity"): 1e-5,
    ("float64", "positivity"): 1e-12,
    ("float32", "closed_form"): 1.4e-3,
    ("float64", "closed_form"): 6e-8,
}

# The probability that a run of the gate fails a right stochastic method, over all its comparisons and their entries.
FALSE_ALARM_LEVEL = 1e-3

# A limit kernel against the average of N finite-width ones: z standard errors for the draws, plus c/width for the
# distance that the average has at that width, normalised like an error.
LIMIT_STANDARD_ERRORS = 6.0
LIMIT_BIAS = 4.0


def tolerance(dtype: DType, kind: ToleranceKind = "exact") -> float:
    """The tolerance of that kind for kernels of that dtype."""
    return TOLERANCES[dtype, kind]
