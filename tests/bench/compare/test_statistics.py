"""The tests are exact and agree with their intervals; Holm; how many processes it takes; the fence of a history."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bench.compare.modes import FALSE_FLAGS, SHAPES, critical, two_modes
from bench.compare.statistics import (
    CONFIDENCE,
    Change,
    fence,
    holm,
    least_p,
    paired_change,
    processes_needed,
    unpaired_change,
)
from reference import InputError

KINDS = {"paired": paired_change, "unpaired": unpaired_change}


def sides(n: int, seed: int, change: float = 1.3) -> tuple[np.ndarray, np.ndarray]:
    """Of long tails, B slower."""
    a, b = np.exp(0.3 * np.random.default_rng(seed).standard_t(2, (2, n)))
    return a, change * b


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 6, 11, 20])
def test_an_interval_leaves_1_out_exactly_where_the_test_rejects(kind: str, n: int) -> None:
    found = [KINDS[kind](*sides(n, seed)) for seed in range(60)]
    assert {change.low <= 1 <= change.high for change in found} == {change.p > 1 - CONFIDENCE for change in found}
    assert all((change.low <= 1 <= change.high) == (change.p > 1 - CONFIDENCE) for change in found)
    assert all(change.low <= change.ratio <= change.high for change in found)


@pytest.mark.parametrize("ties", [False, True])
def test_the_paired_p_is_that_of_all_signs(ties: bool) -> None:
    b = sides(8, 1)[1]
    b = 2.0 ** np.round(3 * np.log2(b)) if ties else b
    d = np.log(b)
    ranks = stats.rankdata(np.abs(d)) * (d != 0)
    middle = ranks.sum() / 2
    sums = [sum(r for r, up in zip(ranks, signs, strict=True) if up) for signs in itertools.product((0, 1), repeat=8)]
    seen = abs(ranks[d > 0].sum() - middle)
    expected = np.mean([abs(each - middle) >= seen - 1e-9 for each in sums])
    assert paired_change(np.ones(8), b).p == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_cover_what_is_true_and_false_alarms_keep_their_level(kind: str) -> None:
    found = [KINDS[kind](*sides(9, seed)) for seed in range(600)]
    covered = sum(change.low <= 1.3 <= change.high for change in found)
    assert stats.binomtest(covered, len(found), CONFIDENCE, alternative="less").pvalue > 1e-4
    alarms = sum(KINDS[kind](*sides(9, seed, 1.0)).p <= 0.05 for seed in range(600))
    assert stats.binomtest(alarms, 600, 0.05, alternative="greater").pvalue > 1e-4


def test_the_median_of_pairwise_means_is_not_moved_by_one_turn() -> None:
    a, b = np.ones(10), np.full(10, 1.1)
    b[3] = 50.0
    assert paired_change(a, b).ratio == pytest.approx(1.1)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_processes_have_no_interval(kind: str) -> None:
    change = KINDS[kind]([1.0, 1.0], [2.0, 2.1])
    assert (change.low, change.high) == (0.0, math.inf)
    assert change.p >= least_p(2, change.paired)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_all_alike_has_not_changed(kind: str) -> None:
    assert KINDS[kind]([0.5] * 9, [0.5] * 9).p == 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_time_is_refused(kind: str, bad: float) -> None:
    with pytest.raises(InputError, match="positive"):
        KINDS[kind]([1.0, 2.0], [1.0, bad])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_compare_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="at least one"):
        KINDS[kind]([], [])


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(InputError, match="got 2 and 1"):
        paired_change([1.0, 2.0], [1.0])


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("n", [4, 9])
def test_the_smallest_p_is_that_of_sides_that_do_not_overlap(n: int, paired: bool) -> None:
    change: Callable[..., Change] = KINDS["paired" if paired else "unpaired"]
    a = np.linspace(1, 2, n)
    assert change(a, 10 * a**2).p == pytest.approx(least_p(n, paired), rel=1e-12)


def test_how_many_processes_how_many_cells_need() -> None:
    assert [processes_needed(cells, False) for cells in (85, 86, 4600, 4700)] == [7, 8, 10, 11]
    for cells, paired in itertools.product((1, 5, 30, 500), (True, False)):
        n = processes_needed(cells, paired)
        assert least_p(n, paired) <= min(0.05 / cells, 0.01) < least_p(n - 1, paired)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_fence_of_a_history() -> None:
    changes = np.exp([0.01, -0.02, 0.03, -0.04, 0.05, -0.06, 0.07, -0.08, 0.09])
    assert fence(changes) == pytest.approx(math.exp(0.07 + 3 * 0.04))
    assert fence(changes[:7]) is None


def test_two_modes_are_seen_and_one_is_not() -> None:
    rng = np.random.default_rng(0)
    quick, slow = np.exp(0.02 * rng.normal(size=(2, 10)))
    assert two_modes([*quick, *(2.15 * slow)]) == pytest.approx((1, 2.15), rel=0.05)
    assert two_modes([*quick, *slow]) is None
    assert two_modes([*quick, 2.15, 2.16]) is None, "two processes are outliers"
    assert two_modes([1.0, 1.0, 1.0, 2.0]) is None, "too few to tell"
    assert two_modes([1.0] * 12) is None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [8, 20])
def test_one_mode_is_seldom_called_two(shape: str, n: int) -> None:
    drawn = np.exp(SHAPES[shape](np.random.default_rng(123), (500, n)))
    flags = sum(two_modes(row) is not None for row in drawn)
    assert critical(n) > 0
    assert stats.binomtest(flags, 500, FALSE_FLAGS, alternative="greater").pvalue > 1e-4
