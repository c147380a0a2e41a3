"""The calibration on processes that are drawn instead of measured, its page, and one turn of a bank."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from bench.compare import bank, calibration, calibration_page
from bench.compare.calibration import DEFAULT, Rule, Trial, neighbours
from bench.compare.commits import CLOCKS
from reference import InputError

ENVIRONMENT = {"key": "k", "machine": "EPYC, 2 cores", "accelerator": "", "system": "Linux 6",
               "versions": {"python": "3.11", "torch": "2"}}


def drawn(noise: float, turns: int = 20, drift: float = 1.0) -> list[bank.Drawn]:
    """As from a machine that gets slower by `drift` from turn to turn."""
    rng, found = np.random.default_rng(0), []
    for turn in range(turns):
        for cell in range(len(bank.CELLS)):
            slowdowns = rng.permutation([0.0] * bank.UNTOUCHED + [*bank.SLOWDOWNS])
            for slowdown in map(float, slowdowns):
                level = drift**turn * (1 + slowdown) * np.exp(noise * rng.normal())
                calls = tuple(map(float, level * np.exp(np.abs(0.3 * rng.normal(size=20)))))
                found.append(bank.Drawn(turn, cell, slowdown, 1.0, calls, calls, None))
    return found


def test_neighbours_are_of_one_turn_and_each_untouched_process_in_one_pair() -> None:
    rows = drawn(0.01)
    pairs = [pair for (pair,) in neighbours(rows, 1, 0.0)]
    assert len(pairs) == 20 * bank.UNTOUCHED // 2
    assert len({place for pair in pairs for place in pair}) == 20 * bank.UNTOUCHED
    assert {rows[place].slowdown for pair in pairs for place in pair} == {0.0}
    slowed = neighbours(rows, 1, 0.2)
    assert [len(choices) for choices in slowed] == [bank.UNTOUCHED] * 20
    every = [pair for choices in slowed for pair in choices]
    assert {(rows[a].slowdown, rows[b].slowdown, rows[b].cell) for a, b in every} == {(0.0, 0.2, 1)}
    assert all(rows[a].turn == rows[b].turn for a, b in every)


def test_rates_of_a_quiet_machine_that_drifts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "DRAWS", 20)
    monkeypatch.setattr(calibration, "SUITES", 10)
    trial = Trial(drawn(0.01, drift=1.1))
    rule = Rule(DEFAULT, CLOCKS, (12, 16))
    rates, suites = trial.rates(rule), trial.rates_of_suites(rule)
    assert rates["false alarms"] <= 0.05
    assert suites["false alarms"] <= 0.2
    for found in (rates["power"], rates["power if multiplied"], suites["power"]):
        assert found["0.2"] == found["0.5"] == 1.0
    assert trial.seen(DEFAULT, "cpu", 0, 0.2) == pytest.approx(0.2, abs=0.1)


def test_what_a_noisy_machine_hides_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "DRAWS", 20)
    assert Trial(drawn(0.5)).single(Rule(DEFAULT, CLOCKS, (12,)), 0.05) < 0.2


def write(path: Path, rows: list[bank.Drawn]) -> Path:
    lines = [{"environment": ENVIRONMENT, "loops": [1] * len(bank.CELLS)}, *(vars(row) for row in rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_results_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in ((calibration, "DRAWS", 2), (calibration, "SUITES", 2), (calibration, "SUITE", 3),
                                (calibration, "RESULTS", tmp_path),
                                (calibration_page, "RESULTS", tmp_path), (calibration_page, "PAGE", tmp_path / "p.md"),
                                (calibration_page, "README", tmp_path / "r.md")):
        monkeypatch.setattr(module, name, value)
    (tmp_path / "r.md").write_text("before\n<!-- calibration: begin -->\nold\n<!-- calibration: end -->\nafter")
    path = write(tmp_path / "bank.jsonl", drawn(0.02))
    calibration.main(["judge", f"quiet={path}", f"busy={path}"])
    page, readme = (tmp_path / "p.md").read_text(), (tmp_path / "r.md").read_text()
    assert "12 processes a side, and where a change of 10 %" in page
    assert "up to 20 (the tool: 48; fewer turns were recorded)" in page
    assert "| quiet | 12 then 20 |" in page
    assert readme.startswith("before\n")
    assert readme.endswith("\nafter")
    assert "| 10 % slow-downs found | ≥ 90 % |" in readme
    assert "old" not in readme


def test_a_bank_that_is_too_short_or_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, said in ((write(tmp_path / "bank.jsonl", drawn(0.02, turns=3)), "fewer than 12 turns"),
                       (tmp_path / "none.jsonl", "No such file")):
        with pytest.raises(SystemExit) as ended:
            calibration.main(["judge", f"quiet={path}"])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


@pytest.fixture
def no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "start_pool", lambda names: None)


@pytest.mark.usefixtures("no_pool")
def test_a_bank_of_another_machine_is_not_added_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recorded on another machine"):
        bank.Bank(write(tmp_path / "bank.jsonl", []))


@pytest.mark.usefixtures("no_pool")
def test_a_turn_holds_every_kind_of_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank.Bank, "_sample", lambda self, place, planted: {
        "cpu": [1.0 + planted], "wall": [2.0], "disturbance": None})
    grown = bank.Bank(tmp_path / "bank.jsonl")
    grown.add_turn(random.Random(0))
    grown.add_turn(random.Random(0))
    _, rows = bank.read(tmp_path / "bank.jsonl")
    kinds = sorted([0.0] * bank.UNTOUCHED + [*bank.SLOWDOWNS])
    assert [sorted(row.slowdown for row in rows if (row.turn, row.cell) == (turn, cell))
            for turn in (0, 1) for cell in range(len(bank.CELLS))] == [kinds] * 2 * len(bank.CELLS)
