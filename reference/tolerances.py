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

# A kernel without a proof may be that of a network that amplifies rounding (sines of frequency 30, a unit of ReLU6 next
# to its kink), where no method is within the exact tolerance. Its tolerance is the larger of the table's and this times
# the largest change of the float64 kernel when parameters, inputs and the result of every operation, forward and back,
# are moved by up to one unit in the last place of the dtype asked for (Higham 2002, Accuracy and Stability of Numerical
# Algorithms, sections 1.5 and 3.1: the backward error of an operation is some units of rounding, and its effect is that
# times the condition number). The draws are uniform in ±ε, of standard deviation 0.58 ε, and rounding is uniform in
# ±ε/2, of 0.29 ε; but a matrix product, whose order of summation is the method's, rounds each partial sum too, a factor
# of 2 to 4 in blocks of 16 terms and up to 4,096 of them: 1 to 2 against the draws. Seen on the sine network: methods
# err by 4e-5 and the draws change 1.4e-4. Ten times either is wrong.
CONDITIONING_MULTIPLE = 2.0
# The size of each draw in units in the last place. The larger ones, whose change is divided by their size, see the
# kinks some units away, as sums in another order do; divided by 2 and times 2, a jump is allowed as it is.
CONDITIONING_DRAWS = (1.0, 1.0, 1.0, 2.0, 2.0)

# uᵀ K v over all examples with u, v ~ N(0, I): where entries err by τ d_n d_m independently, its standard deviation is
# at most τ √(tr K₁ tr K₂), and this many are allowed; τ is the table's, or what the draws change in uᵀ K v itself.
PROJECTION_STANDARD_ERRORS = 5.0

# Central differences of step h, in float64, against a derivative: rounding ε/h and h² of curvature, both of a function
# that may have thousands of layers' worth of either. Two derivatives that differ by less than ten times this cannot be
# told apart by differences.
DIFFERENCES_TOLERANCE = 1e-5

# The probability that a run of the gate fails a right stochastic method, over all its comparisons and their entries,
# and what of it each kind of test may take: single entries, pooled statistics, the rate at which the error falls, and
# whether other seeds give other projections. Thresholds depend on the logarithm of a share alone.
FALSE_ALARM_LEVEL = 1e-3
StochasticTest = Literal["entries", "bias", "convergence", "seeds"]
FALSE_ALARM_SHARES: Mapping[StochasticTest, float] = {"entries": 0.5, "bias": 0.4, "convergence": 0.05, "seeds": 0.05}

# The bias that the gate finds, of a pooled statistic relative to its value, and the probability with which it does.
BIAS_TO_FIND = 0.02
POWER = 0.99

# The slope of log(error) over log(proj_dim) is −½ ± this. Two seeds share less than this of their projections.
SLOPE_ERROR = 0.1
LARGEST_OVERLAP = 0.5

# The spread of a random estimate, in units of what independent Gaussian projections have (tests/gate/test_spread.py).
# There, with 27 rows and 256 projections: 1 ± 0.08 and at most 1.4 in 20,000 draws; half the projections, 2 ± 0.2.
LARGEST_SPREAD = 1.5

# A limit kernel against the average of N finite-width ones: z standard errors for the draws, plus c/width for the
# distance that the average has at that width, normalised like an error.
LIMIT_STANDARD_ERRORS = 6.0
LIMIT_BIAS = 4.0

# A limit kernel against what averages at finite width tend to, in the cases of tests/gate/limit_rate.py: standard
# errors for each of their 7 numbers (6 cases together: 3e-4), those of the band of rates, and what O(1/n²) may add to
# the rate of 1/n at n ≥ 4.
LIMIT_RATE_STANDARD_ERRORS = 4.5
LIMIT_RATE_ALLOWANCE = 0.1
LIMIT_RATE_BAND = 3.0


def false_alarm_level(test: StochasticTest) -> float:
    """The probability that a run of the gate fails a right stochastic method in tests of that kind."""
    return FALSE_ALARM_LEVEL * FALSE_ALARM_SHARES[test]


def tolerance(dtype: DType, kind: ToleranceKind = "exact") -> float:
    """The tolerance of that kind for kernels of that dtype."""
    return TOLERANCES[dtype, kind]


def conditioned_tolerance(dtype: DType, change: float, kind: ToleranceKind = "exact") -> float:
    """That of a kernel which rounding alone may change by `change`: the table's, or a small multiple of the change."""
    return max(tolerance(dtype, kind), CONDITIONING_MULTIPLE * change)
