"""What others have disturbed is measured again, within the budget, and the least disturbed is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest

from bench.machine.probe import Probe, Reading
from bench.records.noise import DISTURBED, SLOWED, is_disturbed, weather
from bench.records.record import CaseInfo, Cell, Record
from bench.running import again
from bench.running.again import MOST_ATTEMPTS, Attempts

ROW = Record(Cell("m", "a"), CaseInfo("a", "MLP", 8, 2, None, 3, 99, "random"), 0, "ok", samples_s=(1.0,),
             disturbance=0.0)
QUIET = Reading(1.0, 1.0, 1.0, 1.0)


class Machine:
    """A probe whose readings are given (the last one for good), and a clock that cells put forward by a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, readings: Sequence[Reading] = (QUIET,)) -> None:
        self.now, self._readings, self.noted = 0.0, list(readings), []
        monkeypatch.setattr(again.time, "monotonic", lambda: self.now)

    def take(self) -> Reading:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]

    def attempts(self, share: float = 100.0, best: Reading | None = None) -> Attempts:
        return Attempts(cast(Probe, self), share, best, self.noted.append)

    def cells(self, *rows: Record) -> Callable[[], Record]:
        """Each call measures the next one."""
        left = list(rows)

        def measure() -> Record:
            self.now += 1
            return left.pop(0)

        return measure


def _rows(*shares: float) -> list[Record]:
    return [replace(ROW, disturbance=share, samples_s=(float(at),)) for at, share in enumerate(shares, 1)]


def test_a_quiet_cell_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    attempts = machine.attempts()
    assert attempts.measured(machine.cells(*_rows(0.01))) == replace(_rows(0.01)[0], machine=1.0, attempts=1)
    assert str(attempts) == ""
    assert machine.noted == [QUIET, QUIET], "before and after"


@pytest.mark.parametrize(("shares", "kept"), [
    ((0.5, 0.0), 2), ((0.5, 0.3, 0.4), 2), ((0.3, 0.5, 0.4), 1), ((0.5, 0.4, 0.3), 3)])
def test_the_least_disturbed_is_kept(shares: tuple[float, ...], kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    row = machine.attempts().measured(machine.cells(*_rows(*shares)))
    assert row.samples_s == (float(kept),)
    assert row.attempts == len(shares) <= MOST_ATTEMPTS


def test_a_failure_is_kept_whenever_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    crashed = replace(ROW, status="crash", samples_s=())
    row = machine.attempts().measured(machine.cells(_rows(0.5)[0], crashed))
    assert (row.status, row.attempts) == ("crash", 2)


def test_the_budget_ends_it_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    attempts = machine.attempts(share=0.5)
    rows = [attempts.measured(machine.cells(*_rows(0.5, 0.4, 0.3))) for _ in range(4)]
    assert [row.attempts for row in rows] == [1, 2, 1, 2], "one second more for two that the cells took"
    assert str(attempts) == ("4 measurements were disturbed by other work on this machine; 2 were made again in 2 s "
                             "(--again 0.5 allows 2 s); 4 stay marked")
    none = machine.attempts(share=0)
    assert none.measured(machine.cells(*_rows(0.5, 0.4))).attempts == 1


def test_a_slow_machine_is_seen_without_any_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Reading(3.0, 1.0, 1.0, 1.0)
    machine = Machine(monkeypatch, [QUIET, slow, QUIET])
    row = machine.attempts().measured(machine.cells(ROW, ROW, ROW))
    assert (row.attempts, row.machine) == (MOST_ATTEMPTS, 1.0), "slow after the first and before the second"
    seen = machine.attempts(share=0).measured(machine.cells(ROW))
    assert seen.machine == 1.0
    known = Machine(monkeypatch, [Reading(2.0, 1.0, 2.0, 1.0)])
    assert known.attempts(0).measured(known.cells(ROW)).machine == 1.0, "the best that is known so far"
    assert known.attempts(0, best=QUIET).measured(known.cells(ROW)).machine == 2.0, "an earlier run knows better"


def test_what_is_not_measured_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    row = machine.attempts().measured(machine.cells(replace(ROW, status="unsupported", samples_s=())))
    assert row.machine is None


def test_the_weather_of_a_run() -> None:
    assert str(weather([replace(ROW, disturbance=None)])) == "", "nothing is known"
    assert str(weather([])) == ""
    assert "quiet: no measurement of 2" in str(weather([ROW, ROW]))
    busy = weather([replace(ROW, disturbance=0.5, machine=2.0, attempts=3), ROW, replace(ROW, disturbance=0.3)])
    assert busy.busy
    assert "busy: 2 of 3" in str(busy)
    assert "30 % of its time, at most in 50 %" in str(busy)
    assert "2.0 times slower" in str(busy)
    assert "2 were made again" in str(busy)
    mostly = weather([replace(ROW, disturbance=0.5), *[ROW] * 19])
    assert not mostly.busy
    assert "quiet for the most part: 1 of 20" in str(mostly)


def test_thresholds_are_thresholds() -> None:
    assert not is_disturbed(replace(ROW, disturbance=DISTURBED, machine=SLOWED))
    assert is_disturbed(replace(ROW, disturbance=1.01 * DISTURBED))
    assert is_disturbed(replace(ROW, machine=1.01 * SLOWED))
    assert not is_disturbed(replace(ROW, disturbance=None, machine=None))
