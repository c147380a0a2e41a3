"""The order of a run: turns that mirror each other, drawn by the seed, and the same for a run that goes on."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

from bench.cells.methods import Listed
from bench.records.record import Cell
from bench.running.order import Place, in_order

METHODS = tuple("abcdefg")
N_TURNS = 5


def places(methods: tuple[str, ...] = METHODS) -> list[Place]:
    """As a run lays them out: two cases, each in two dtypes."""
    source: Any = None
    return [Place(Cell(method, case, dtype=dtype), source, Listed(method), replicate)
            for case, dtype, method, replicate in product(("one", "two"), ("float32", "float64"), methods,
                                                          range(N_TURNS))]


def turns_of(ordered: list[Place]) -> list[tuple[str, str, int, str]]:
    """Case, dtype, turn, and the methods as they came."""
    found: dict[tuple[str, str, int], str] = {}
    for place in ordered:
        key = place.cell.case, place.cell.dtype, place.replicate
        found[key] = found.get(key, "") + place.cell.method
    return [(*key, methods) for key, methods in found.items()]


def test_each_turn_has_all_methods_and_the_second_goes_back() -> None:
    ordered = in_order(places(), seed=0)
    assert [place.position for place in ordered] == list(range(len(ordered)))
    assert Counter(map(_identity, ordered)) == Counter(map(_identity, places()))
    turns = turns_of(ordered)
    assert [turn[:3] for turn in turns] == list(product(("one", "two"), ("float32", "float64"), range(N_TURNS)))
    drawn = [turn[3] for turn in turns]
    assert all(sorted(methods) == sorted(METHODS) for methods in drawn)
    for at in range(0, len(drawn), N_TURNS):
        first, second, third, fourth, last = drawn[at:at + N_TURNS]
        assert (second, fourth) == (first[::-1], third[::-1])
        assert len({first, third, last}) == 3
    assert len(set(drawn[::N_TURNS])) == 4, "each competition has its own draw"


def test_the_seed_draws() -> None:
    assert turns_of(in_order(places(), 3)) == turns_of(in_order(places(), 3))
    assert turns_of(in_order(places(), 3)) != turns_of(in_order(places(), 4))


def _identity(place: Place) -> tuple[str, str, str, int]:
    return place.cell.case, place.cell.dtype, place.cell.method, place.replicate
