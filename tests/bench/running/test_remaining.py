"""The time that is left is true within a factor of 1.5 from a third of the cells on, and rests on what was measured."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console

from bench.cells.cases import Fixture, NetworkOnNoise, size_of
from bench.cells.options import Options, sources_of
from bench.cells.profiles import PROFILES
from bench.records.export import load_json
from bench.records.record import CaseInfo, Cell, Record
from bench.running.remaining import Effort, Remaining
from reference import MLP
from tests import ROOT

EFFORT = Effort(steady_s=0.5, most=30, limit_s=60.0)
FACTOR = 1.5
INFO = CaseInfo("a", "MLP", 8, 2, None, 3, 99, "random")


def _seconds(record: Record) -> float:
    """What a cell took: its process takes about 0.35 s beside what is recorded, as the rows' moments show."""
    return 0.35 + (record.setup_s or 0.0) + (record.first_call_s or 0.0) + sum(record.samples_s)


@pytest.mark.parametrize("seed", range(3))
def test_a_quick_run_is_foretold_from_a_third_of_it_on(seed: int) -> None:
    """Case by case in turns, in each its methods in any order; in later turns those near the fastest alone."""
    rows, _ = load_json(ROOT / "bench/results/quick-cpu.json")
    rng, profile = np.random.default_rng(seed), PROFILES["quick"]
    places: list[tuple[Cell, Record | None]] = []
    for case in dict.fromkeys(row.cell.case for row in rows):
        first, *later = ({row.cell.method: row for row in rows if row.cell.case == case and row.replicate == turn}
                         for turn in range(profile.replicates))
        for turn in (first, *later):
            places += [(first[method].cell, turn.get(method)) for method in rng.permutation(list(first))]
    sizes = {source.name: size_of(source) for source in sources_of(Options(), profile, Console())}
    remaining = Remaining([cell for cell, _ in places], sizes, Effort(profile.steady_s, 30, profile.time_limit_s))
    left = whole = sum(_seconds(row) for _, row in places if row)
    for at, (cell, row) in enumerate(places, 1):
        if row is None:
            remaining.skipped(cell)
            continue
        remaining.finished(row, _seconds(row))
        left -= _seconds(row)
        told = remaining.seconds()
        if at >= len(places) / 3 and left > whole / 20:
            assert told is not None
            assert left / FACTOR <= told <= left * FACTOR, f"after {at} of {len(places)}"


def _row(method: str, case: str, seconds: tuple[float, ...] = (0.01,)) -> Record:
    return Record(Cell(method, case), replace(INFO, case=case), 0, "ok" if seconds else "timeout", samples_s=seconds)


def test_nothing_is_foretold_of_nothing() -> None:
    assert Remaining([Cell("m", "a")], {}, EFFORT).seconds() is None


def test_a_larger_case_takes_longer_up_to_the_limit() -> None:
    cells = [Cell("m", case) for case in ("small", "large", "huge")]
    sizes = {"small": 1.0, "large": 100.0, "huge": 1e9}
    told = []
    for last in ("small", "large", "huge"):
        remaining = Remaining([cells[0], Cell("m", last)], sizes, EFFORT)
        remaining.finished(_row("m", "small", (0.1,) * 5), 1.0)
        told.append(remaining.seconds() or 0.0)
    assert all(quicker < slower for quicker, slower in pairwise(told))
    assert told[0] == pytest.approx(1.0)
    assert told[-1] == pytest.approx(EFFORT.limit_s)


def test_a_machine_that_has_become_slow_counts_for_all() -> None:
    cells = [Cell("m", case) for case in "abcd"]
    remaining = Remaining(cells, {}, EFFORT)
    for case, seconds in (("a", 1.0), ("b", 3.0)):
        remaining.finished(_row("m", case), seconds)
    assert remaining.seconds() == pytest.approx(4.0)


def test_a_method_that_no_cell_has_shown_takes_what_others_take() -> None:
    remaining = Remaining([Cell("m", "a"), Cell("new", "a")], {}, EFFORT)
    remaining.finished(_row("m", "a"), 2.0)
    assert remaining.seconds() == pytest.approx(2.0)


def test_what_is_left_out_takes_no_time() -> None:
    cells = [Cell(method, case) for case in "ab" for method in ("m", "slow") for _ in range(3)]
    remaining = Remaining(cells, {}, EFFORT)
    remaining.finished(_row("m", "a"), 1.0)
    remaining.finished(_row("slow", "a"), 1.0)
    remaining.finished(_row("m", "a"), 1.0)
    remaining.skipped(Cell("slow", "a"))
    assert remaining.seconds() == pytest.approx(1 + 3 + 1), "and in the next case as well, but for its first turn"


def test_what_comes_before_the_cells_of_a_case_counts() -> None:
    remaining = Remaining([Cell("m", case) for case in "abc"], {}, EFFORT)
    remaining.prepared("a", 10.0)
    remaining.finished(_row("m", "a"), 1.0)
    assert remaining.seconds() == pytest.approx(22.0)


def test_a_cell_that_made_no_call_is_a_whole() -> None:
    remaining = Remaining([Cell("m", "a"), Cell("m", "b")], {}, replace(EFFORT, limit_s=math.inf))
    remaining.finished(_row("m", "a", ()), 60.0)
    assert remaining.seconds() == pytest.approx(60.0)


def test_sizes_of_cases_grow_with_all_of_them() -> None:
    def size(width: int = 8, o: int = 3, n1: int = 4) -> float:
        return size_of(NetworkOnNoise("mlp", MLP((5, width, o)), n1))

    assert size() < min(size(width=9), size(o=4), size(n1=5))
    assert size_of(NetworkOnNoise("mlp", MLP((5, 8, 3)), 4, 4)) == size(n1=8)
    assert size_of(Fixture("any")) == 1.0, "it would have to be built"
