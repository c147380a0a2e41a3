"""What a call is charged: sleeping in full, never more than what passed, never less than its CPU time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.suites import clock


def test_a_call_that_sleeps_is_charged_for_it() -> None:
    assert clock.charged(lambda: time.sleep(0.02)) >= 0.019


def test_waiting_for_a_core_is_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = iter([1.0, 1.015])
    monkeypatch.setattr(clock, "_waited", lambda: next(waited))
    begin = time.perf_counter()
    charged = clock.charged(lambda: time.sleep(0.02))
    assert charged <= time.perf_counter() - begin - 0.014


def test_no_less_than_the_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of one process that wait for each other are no disturbance."""
    waited = iter([0.0, 1e3])
    monkeypatch.setattr(clock, "_waited", lambda: next(waited))
    begin = time.process_time()
    charged = clock.charged(lambda: sum(range(20_000)))
    assert 0 < charged <= time.process_time() - begin


def test_a_kernel_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clock, "_THREADS", tmp_path / "nothing")
    assert clock._waited() == 0
