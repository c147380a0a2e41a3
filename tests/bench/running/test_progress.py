"""What is shown while a run is on: lines where nobody watches, a bar on a terminal, and the time that is left."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from bench.records.record import CaseInfo, Cell, Record
from bench.running import progress
from bench.running.progress import Progress

INFO = CaseInfo("a", "MLP", 8, 2, None, 3, 99, "random")


def _finished(cell: Cell, status: str = "ok") -> Record:
    return Record(cell, INFO, 0, status, reason="" if status == "ok" else "of [bold]old[/bold] age",  # pyright: ignore[reportArgumentType]
                  error=1e-7, samples_s=(0.002,) if status == "ok" else ())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds, in its only entry."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def _console(terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=200), stream


def test_a_line_for_each_cell_without_a_terminal(clock: list[float]) -> None:
    console, stream = _console(terminal=False)
    cells = [Cell("slow", "a"), Cell("quick", "a")]
    with Progress(console, cells) as shown:
        shown.begin(cells[0])
        clock[0] += 7
        shown.finish(_finished(cells[0]))
        shown.begin(cells[1])
        shown.finish(_finished(cells[1], "crash"))
    assert stream.getvalue().splitlines() == [
        "[1/2] slow · a · full · float32: ok, 2.00 ms, error 1.0e-07 (about 7 s left)",
        "[2/2] quick · a · full · float32: crash: of [bold]old[/bold] age (about 0 s left)",
    ]


@pytest.mark.parametrize(("kind", "words"), [
    ("exact", "error 1.3e+00"), ("limit", "distance 1.3 from the finite kernel"),
    ("stochastic", "an estimate, off by 1.3")])
def test_what_is_no_mistake_is_not_called_an_error(clock: list[float], kind: str, words: str) -> None:
    console, stream = _console(terminal=False)
    cell = Cell("a", "a")
    with Progress(console, [cell]) as shown:
        shown.begin(cell)
        shown.finish(replace(_finished(cell), kind=kind, error=1.3))
    assert f"ok, 2.00 ms, {words} (" in stream.getvalue()


def test_a_terminal_gets_a_bar_and_the_failures(clock: list[float]) -> None:
    console, stream = _console(terminal=True)
    cells = [Cell("slow", "a"), Cell("quick", "a")]
    with Progress(console, cells) as shown:
        for cell, status in zip(cells, ("ok", "crash"), strict=True):
            shown.begin(cell)
            shown.finish(_finished(cell, status))
    assert "slow · a · full · float32: ok" not in stream.getvalue()
    assert "quick · a · full · float32: crash: of [bold]old[/bold] age" in stream.getvalue()


def test_time_left_goes_by_the_methods_own_cells(clock: list[float]) -> None:
    console, _ = _console(terminal=False)
    cells = [Cell("slow", "a"), Cell("quick", "a"), Cell("slow", "b"), Cell("quick", "b"), Cell("new", "b")]
    shown = Progress(console, cells)
    assert shown.time_left() == ""
    for cell, duration in zip(cells[:2], (100, 2), strict=True):
        shown.begin(cell)
        clock[0] += duration
        shown.finish(_finished(cell))
    assert shown.time_left() == "about 3 min left"  # 100 + 2, and (100 + 2) / 2 for the method that is new
