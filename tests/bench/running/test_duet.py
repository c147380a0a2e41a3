"""Two methods at the same moment: each two once a turn, rows that say beside whom, and a ranking of those two alone."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from bench.cells.cases import Fixture
from bench.cells.methods import Listed
from bench.machine import meter
from bench.machine.meter import Meter
from bench.machine.threads import cores
from bench.records.record import BESIDE, CaseInfo, Cell, Record
from bench.report.summary import rankings
from bench.running import duet
from bench.running.order import Place
from tests.bench.command import assert_usage_error, rows, run_methods

pinned = pytest.mark.skipif(len(cores()) < 2 or not hasattr(os, "sched_setaffinity"), reason="takes two cores")
INFO = CaseInfo("a", "MLP", 8, 2, None, 3, 99, "random")


def _places(methods: str, turns: int = 1, case: str = "a") -> list[Place]:
    return [Place(Cell(name, case), Fixture("mlp"), Listed(name), turn) for turn in range(turns) for name in methods]


def test_each_two_of_a_turn_are_a_pair_and_know_each_other() -> None:
    found = duet.pairs([*_places("xyz", turns=2), *_places("xy", case="b")])
    assert len(found) == 2 * 3 + 1
    for one, other in found:
        assert (one.cell.case, one.replicate) == (other.cell.case, other.replicate)
        assert one.cell.options[BESIDE] == other.cell.method != one.cell.method == other.cell.options[BESIDE]
        assert one.cell.own_options == {}, "the method does not see it"
    assert duet.pairs(_places("x", turns=3)) == []


def test_rows_of_a_duet_are_ranked_with_each_other_alone() -> None:
    def row(method: str, seconds: float, other: str | None = None) -> Record:
        cell = Cell(method, "a", options={} if other is None else {BESIDE: other})
        return Record(cell, INFO, 0, "ok", samples_s=(seconds,))

    found = rankings([row("x", 2.0, "y"), row("y", 60.0, "x"), row("x", 3.0, "z"), row("z", 1.0, "x"), row("x", 1.0)])
    assert [[entry.line.label for entry in ranking.ranked] for ranking in found] == [["x"], ["x", "y"], ["z", "x"]]


class _Meeting:
    """A barrier at which the other process is `times` times."""

    def __init__(self, times: int) -> None:
        self.left, self.ended = times, False

    def wait(self, patience_s: float) -> None:
        assert patience_s > 0
        self.left -= 1
        if self.left < 0:
            raise threading.BrokenBarrierError

    def abort(self) -> None:
        self.ended = True


@pinned
@pytest.mark.parametrize("fails", [False, True])
def test_a_process_waits_before_each_call_on_its_own_core(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[int] = []
    meeting, before = _Meeting(2), cores()

    def measure(send: Any, job: Any) -> dict[str, Any]:
        assert cores() == [before[1]]
        of_calls = Meter()
        for _ in range(3):  # once alone, as the other one has no more calls
            with of_calls:
                met.append(meeting.left)
        if fails:
            raise ZeroDivisionError
        return {"status": "ok"}

    monkeypatch.setattr(meter, "wait_before_call", meter.wait_before_call)  # set back at the end
    monkeypatch.setattr(duet, "measure", measure)
    try:
        with pytest.raises(ZeroDivisionError) if fails else nullcontext():
            duet.beside(lambda phase, measured: None, cast(Any, None), before[1], meeting)
    finally:
        os.sched_setaffinity(0, before)
    assert met == [1, 0, -1]
    assert meeting.ended, "so that the other one waits no more"


@pinned
def test_a_duet_by_the_command_line(bench_files: Path, tmp_path: Path) -> None:
    done = run_methods(bench_files, tmp_path, "GOOD", "SLOW", options=("--duet", "--replicates", "1"))
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path)
    assert {name: row.cell.options for name, row in found.items()} == {
        "good": {BESIDE: "slow"}, "slow": {BESIDE: "good"}}
    assert found["slow"].samples_s[0] >= 0.1 > found["good"].samples_s[0]
    assert "good and slow at the same moment" in " ".join(done.stdout.split())


@pinned
def test_what_is_no_duet_is_refused(bench_files: Path, tmp_path: Path) -> None:
    assert_usage_error(run_methods(bench_files, tmp_path, "GOOD", options=("--duet",)), "two methods")
    assert_usage_error(run_methods(bench_files, tmp_path, "GOOD", options=("--duet", "--threads", "2")), "--threads 2")
