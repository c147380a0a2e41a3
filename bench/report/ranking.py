"""Which methods can be told apart, and the places that they have or share.

The unit is a process: the median of its calls, as a logarithm, so that a difference is a ratio. Processes of one turn
were measured one soon after the other and are a pair (`bench.running.order`): what disturbs the machine for longer than
a turn disturbs both, and falls out of their difference.

Two methods are told apart where zero lies outside the interval of their mean difference d over n turns,

    |d| > t(1 − α/2m; d0 + n − 1) · √(s̃²/n),   s̃² = (d0 s0² + (n − 1) s²) / (d0 + n − 1),

the moderated t-statistic of Smyth, "Linear models and empirical Bayes methods for assessing differential expression in
microarray experiments" (Statistical Applications in Genetics and Molecular Biology 3, 2004,
doi:10.2202/1544-6115.1027): s² is what the turns themselves vary by, s0² what turns vary by as a rule. From few
processes alone nothing follows (three may agree by chance, and one has no s² at all), and the rule stands in for them
as d0 further turns would; with many it no longer matters. Exact tests, which `bench.compare` makes, assume less, and
need seven processes a side.

s0² is the larger of two: what one method under two names was seen to vary by (docs/noise.md), and what the
rankings of these rows vary by among themselves. The first depends on how each process was disturbed: one that ran in a
share r of the time of its calls took 1/r times as long on the average, and how much of that is in the median of its
calls is chance: log(1/r) is added to its standard deviation, times `CHANCE`, as the square root of a sum of squares.

m, the number of pairs in the ranking, makes α hold for all of them together (Bonferroni; the pairs are few and the
differences either large or none, so that a sharper correction would gain little). Then the places from 1 + (how many
are certainly faster) to the last but (how many are certainly slower) are an interval of the rank for every method at
once: Klein, Wright and Wieczorek, "A joint confidence region for an overall ranking of populations" (Journal of the
Royal Statistical Society C 69, 2020, doi:10.1111/rssc.12402). Methods whose intervals are wider than one place share
places.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from scipy import special

ALPHA = 0.01
"""How often a ranking of methods that are all equally fast may tell any two of them apart."""
QUIET = 0.07
"""Standard deviation of the logarithm of an undisturbed process's time. (The differences of two methods over the three
turns of bench/results/engines-cpu.json vary by 0.06, those on two threads by 0.13: of one process, 0.04 and 0.09.)"""
CHANCE = 0.3
"""Of what a disturbed one takes longer on the average, as a logarithm: its further standard deviation."""
PRIOR_TURNS = 10
"""Weight of what is known beforehand, d0."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Process:
    """One process of a method."""

    seconds: float
    longer: float = 0.0
    """The logarithm of how many times longer its calls took, on the average, than undisturbed (`noise.longer`)."""


Turns = Mapping[int, Process]
"""Turn → the process that was measured in it."""


@dataclass(frozen=True)
class Places:
    """From `first` to `last`, both from 1 on: the places that a method may have."""

    first: int
    last: int

    @property
    def alone(self) -> bool:
        return self.first == self.last

    def __str__(self) -> str:
        return str(self.first) if self.alone else f"{self.first}–{self.last}"


def places(times: Mapping[K, Turns], usual: float = 0.0) -> dict[K, Places]:
    """The places of all. `usual` is the variance of a difference as a rule (see `usual_variance`)."""
    faster, slower = dict.fromkeys(times, 0), dict.fromkeys(times, 0)
    n_pairs = math.comb(len(times), 2)
    for one, other in combinations(times, 2):
        told = compared(times[one], times[other], n_pairs, usual)
        for quick, slow in (((one, other),) if told < 0 else ((other, one),) if told > 0 else ()):
            slower[quick] += 1
            faster[slow] += 1
    return {each: Places(1 + faster[each], len(times) - slower[each]) for each in times}


def compared(one: Turns, other: Turns, n_pairs: int = 1, usual: float = 0.0) -> int:
    """−1 where `one` is certainly faster, 1 where it is certainly slower, 0 where they cannot be told apart."""
    found = _differences(one, other)
    if not found:
        return 0
    mean, variance, freedom = _moderated(found, max(usual, _prior(one, other)))
    widest = special.stdtrit(freedom, 1 - ALPHA / (2 * n_pairs)) * math.sqrt(variance / len(found))
    return 0 if abs(mean) <= widest else -1 if mean < 0 else 1


def interval(one: Turns, other: Turns) -> tuple[float, float, float] | None:
    """`other`'s time over `one`'s, and from where to where it lies at 1 − `ALPHA`; None without a common turn."""
    found = _differences(other, one)
    if not found:
        return None
    mean, variance, freedom = _moderated(found, _prior(one, other))
    half = special.stdtrit(freedom, 1 - ALPHA / 2) * math.sqrt(variance / len(found))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def usual_variance(rankings: Iterable[Mapping[K, Turns]]) -> float:
    """What the difference of two methods varies by from turn to turn, in the middle of all pairs that have two turns
    or more; 0 where none has."""
    scaled = []
    for times in rankings:
        for one, other in combinations(times.values(), 2):
            found = _differences(one, other)
            if len(found) > 1:
                scaled.append(_variance(found) / _median_of_chi_squared(len(found) - 1))
    return sorted(scaled)[len(scaled) // 2] if scaled else 0.0


def _differences(one: Turns, other: Turns) -> list[float]:
    return [math.log(one[turn].seconds / other[turn].seconds) for turn in sorted(one.keys() & other.keys())]


def _prior(one: Turns, other: Turns) -> float:
    """Of the difference: the mean over the common turns of both variances together."""
    turns = one.keys() & other.keys()
    return sum(_own(one[turn]) + _own(other[turn]) for turn in turns) / len(turns)


def _own(process: Process) -> float:
    return QUIET**2 + (CHANCE * process.longer) ** 2


def _moderated(found: Sequence[float], prior: float) -> tuple[float, float, int]:
    """Mean, variance and degrees of freedom."""
    own = len(found) - 1
    variance = (PRIOR_TURNS * prior + own * (_variance(found) if own else 0.0)) / (PRIOR_TURNS + own)
    return sum(found) / len(found), variance, PRIOR_TURNS + own


def _variance(found: Sequence[float]) -> float:
    mean = sum(found) / len(found)
    return sum((value - mean) ** 2 for value in found) / (len(found) - 1)


def _median_of_chi_squared(freedom: int) -> float:
    """Over its degrees of freedom: what the median of sample variances is of the true one."""
    return 2 * float(special.gammaincinv(freedom / 2, 0.5)) / freedom
