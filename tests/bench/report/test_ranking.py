"""Places are given as far as they are certain: with few processes little is, and what is equal shares its place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.report.ranking import ALPHA, CHANCE, QUIET, Places, Process, compared, places, usual_variance


def _turns(*seconds: float, longer: float = 0.0) -> dict[int, Process]:
    return {turn: Process(value, longer) for turn, value in enumerate(seconds)}


def _drawn(rng: np.random.Generator, log_s: float, n: int, sd: float, shared: np.ndarray | None = None,
           longer: float = 0.0) -> dict[int, Process]:
    logs = log_s + sd * rng.standard_normal(n) + (0 if shared is None else shared)
    return _turns(*map(math.exp, logs), longer=longer)


def test_what_differs_by_much_has_places_of_its_own():
    found = places({"slow": _turns(9.0, 9.1, 9.2), "quick": _turns(1.0, 1.1, 0.9), "middle": _turns(3.0, 3.1, 3.0)})
    assert {name: str(place) for name, place in found.items()} == {"slow": "3", "quick": "1", "middle": "2"}


def test_what_cannot_be_told_apart_shares_places():
    found = places({"a": _turns(1.0, 1.1), "b": _turns(1.05, 1.02), "c": _turns(30.0, 31.0)})
    assert [str(found[name]) for name in "abc"] == ["1–2", "1–2", "3"]
    assert not found["a"].alone


def test_one_process_a_method_tells_only_large_differences():
    assert compared(_turns(1.0), _turns(1.3)) == 0
    assert compared(_turns(1.0), _turns(30.0)) == -1
    assert compared(_turns(30.0), _turns(1.0)) == 1


def test_a_disturbed_process_tells_less():
    assert compared(_turns(1.0), _turns(2.0)) == -1
    assert compared(_turns(1.0), _turns(2.0, longer=2.0)) == 0


def test_what_disturbs_a_whole_turn_falls_out():
    drift = (1.0, 5.0, 2.0, 9.0, 1.0, 3.0)
    slower = compared(_turns(*drift), _turns(*(1.5 * each for each in drift)))
    assert slower == -1
    mixed = compared(_turns(*drift), _turns(*(1.5 * each for each in reversed(drift))))
    assert mixed == 0


def test_turns_that_only_one_has_are_no_pairs():
    assert compared({0: Process(1.0), 1: Process(1.0)}, {2: Process(99.0)}) == 0
    assert compared({0: Process(1.0), 1: Process(500.0)}, {0: Process(99.0)}) == -1


def test_one_method_alone_is_first():
    assert places({"a": _turns(1.0)}) == {"a": Places(1, 1)}
    assert places({}) == {}


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("longer", [0.0, 0.7])
def test_equal_methods_share_the_place_as_often_as_is_said(n: int, longer: float):
    rng = np.random.default_rng(7)
    sd = math.hypot(QUIET, CHANCE * longer)
    alarms = 0
    for _ in range(600):
        shared = rng.standard_normal(n)
        found = places({name: _drawn(rng, 0.0, n, sd, shared, longer) for name in "abcd"})
        alarms += any(place != Places(1, 4) for place in found.values())
    assert alarms <= 600 * ALPHA + 3 * math.sqrt(600 * ALPHA), "three standard deviations"


def test_a_machine_that_is_noisier_than_usual_is_seen_by_its_own_rows():
    rng = np.random.default_rng(7)
    noisy = [{name: _drawn(rng, 0.0, 2, 5 * QUIET) for name in "abc"} for _ in range(300)]
    usual = usual_variance(noisy)
    assert math.sqrt(usual) == pytest.approx(math.sqrt(2) * 5 * QUIET, rel=0.2)
    naive, wary = ([any(place.alone for place in places(each, value).values()) for each in noisy]
                   for value in (0.0, usual))
    assert sum(wary) <= 300 * ALPHA + 3 * math.sqrt(300 * ALPHA) < sum(naive)
    assert usual_variance([{name: _turns(1.0) for name in "abc"}]) == 0.0


def test_more_turns_tell_more_apart():
    rng = np.random.default_rng(7)
    told = [sum(compared(_drawn(rng, 0.0, n, QUIET), _drawn(rng, math.log(1.4), n, QUIET), 45) == -1
                for _ in range(50)) for n in (1, 3, 9)]
    assert told[0] < told[1] < told[2] == 50
