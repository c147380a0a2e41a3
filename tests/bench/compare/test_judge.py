"""What is said of a cell: regressions, changes that cannot be told, a busy machine, a history, failures."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from rich.console import Console

from bench.compare.judge import LEAST, Contest, Process, Verdict, exit_code, judge, of_calls
from bench.compare.table import markdown, ordered, print_comparison, to_json

SIZE = 0.1


def side(n: int, seconds: float, noise: float = 0.01, longer: float = 0.0, seed: int = 0) -> list[Process]:
    drawn = seconds * np.exp(noise * np.random.default_rng([seed, n]).normal(size=n))
    return [Process({"cpu": float(each)}, longer, longer > 0) for each in drawn]


def contest(change: float, n: int = 12, noise: float = 0.01, cell: str = "a · b", **settings: object) -> Contest:
    return Contest(cell, side(n, 1.0, noise, seed=1), side(n, change, noise, seed=2), paired=True,
                   **settings)  # pyright: ignore[reportArgumentType]


def verdict(*contests: Contest) -> Verdict:
    return judge(contests, SIZE)[0]


@pytest.mark.parametrize(("change", "status", "code"), [(1.2, "slower", 1), (1 / 1.2, "faster", 0), (1.0, "same", 0)])
def test_changes_are_told(change: float, status: str, code: int) -> None:
    found = verdict(contest(change))
    assert (found.status, exit_code([found])) == (status, code)
    assert found.change is not None
    assert found.change.low <= change <= found.change.high


def test_what_is_smaller_than_layout_moves_is_no_change() -> None:
    assert verdict(contest(1 + LEAST / 2, noise=1e-4)).status == "same"


def test_noise_that_hides_the_size_is_underpowered_and_says_how_many_processes_would_do() -> None:
    found = verdict(contest(1.0, noise=0.3))
    assert found.status == "underpowered"
    assert any("processes a side would tell 10%" in remark for remark in found.remarks)


def test_too_few_processes_can_prove_nothing() -> None:
    found = verdict(*(contest(1.5, n=6) for _ in range(40)))
    assert found.status == "underpowered"
    assert "6 processes a side can prove nothing in 40 tests; 11 can" in found.remarks


def test_many_cells_are_held_to_one_rate() -> None:
    alone = contest(1.05, n=8, noise=0.001)
    assert verdict(alone).status == "slower"
    assert verdict(alone, *(contest(1.0, n=8) for _ in range(20))).status != "slower"


def test_a_change_within_its_history_is_none() -> None:
    steps = [1.1, 0.9, 1.12, 0.88, 1.2, 0.8, 1.15, 0.9, 1.1]
    assert verdict(contest(1.2)).status == "slower"
    found = verdict(contest(1.2, history={"cpu": steps}))
    assert found.status != "slower"
    assert any("its history moves by up to" in remark for remark in found.remarks)


def test_a_busy_machine_is_not_blamed_on_the_code() -> None:
    quiet = side(12, 1.0, seed=1)
    busy = verdict(Contest("cell", quiet, side(12, 1.3, longer=math.log(1.3), seed=2), paired=False))
    assert (busy.status, exit_code([busy])) == ("disturbed", 0)
    assert any("12 of 12 processes of B were disturbed" in remark for remark in busy.remarks)
    for longer in (math.log(1.1), 0.0):
        slower = verdict(Contest("cell", quiet, side(12, 1.6, longer=longer, seed=2), paired=False))
        assert slower.status == "slower", "the machine explains a part"
    faster = verdict(Contest("cell", side(12, 1.3, longer=math.log(1.3), seed=1), side(12, 1.0, seed=2), paired=False))
    assert faster.status == "disturbed"
    slow_all_the_same = verdict(Contest("cell", side(12, 1.0, longer=0.5, seed=1), side(12, 1.3, seed=2), paired=False))
    assert slow_all_the_same.status == "slower", "though A was the disturbed one"


def test_two_modes_are_said() -> None:
    b = [*side(6, 1.0, seed=3), *side(6, 2.15, seed=4)]
    found = verdict(Contest("cell", side(12, 1.0, seed=1), b, paired=False))
    assert any("B has two modes, 2.1" in remark for remark in found.remarks)


def test_either_clock_raises_the_alarm() -> None:
    times = ([each.seconds["cpu"] for each in side(12, 1.0, seed=seed)] for seed in (1, 2))
    a, b = ([Process({"cpu": each, "wall": each * waited}) for each in some]
            for some, waited in zip(times, (1.0, 1.5), strict=True))
    found = verdict(Contest("cell", a, b, paired=True))
    assert (found.status, next(iter(found.changes))) == ("slower", "wall")


def test_what_broke_is_a_regression() -> None:
    broken = Contest("cell", [], [], True, problem=("broken", "B: timeout"))
    mended = Contest("other", [], [], True, problem=("mended", "A: timeout"))
    assert exit_code(judge([broken])) == 1
    assert exit_code(judge([mended])) == 0


def test_a_process_is_its_quickest_call_or_their_median() -> None:
    assert of_calls([3.0, 1.0, 2.0], "minimum") == 1.0
    assert of_calls([3.0, 1.0, 2.5], "median") == 2.5


def test_what_is_shown() -> None:
    verdicts = judge([contest(1.0, cell="m · |x|\n`<b>` · full"), contest(1.2, cell="n · c · full"),
                      Contest("o · c · full", [], [], True, problem=("missing", "only in A"))], SIZE)
    assert [each.status for each in ordered(verdicts)] == ["slower", "same", "missing"]
    console = Console(width=80, record=True)
    print_comparison(verdicts, "new against [bold]old", SIZE, console)
    shown = console.export_text()
    assert "new against [bold]old. All cells: full" in shown
    assert "1 regression in 3 cells: 1 slower, 1 same, 1 missing" in shown
    page = markdown(verdicts, "new against old", SIZE)
    assert page.count("\n| ") == 5
    assert "m · \\|x\\| \\`&lt;b>\\`" in page


def test_json_holds_what_is_infinite_as_null() -> None:
    document = json.loads(to_json(judge([contest(1.2, n=2)]), "title", SIZE))
    change = document["verdicts"][0]["changes"]["cpu"]
    assert change["high"] is None
    assert not math.isinf(change["ratio"])
