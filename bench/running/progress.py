"""What a run shows while it runs: a bar on a terminal, else one plain line a cell."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from bench import units
from bench.records.record import Cell, Record
from bench.running.remaining import USUAL, Effort, Remaining


class Progress:
    """Counts cells and says how long the rest may take; used as a context manager."""

    def __init__(self, console: Console, cells: Sequence[Cell], sizes: Mapping[str, float] | None = None,
                 effort: Effort = USUAL) -> None:
        self._console = console
        self._remaining = Remaining(cells, sizes or {}, effort)
        self._n = len(cells)
        self._ended = self._began = time.monotonic()
        self._bar = Bar(TextColumn("{task.fields[cell]}"), BarColumn(), MofNCompleteColumn(),
                        TextColumn("{task.fields[left]}"), console=console, transient=True,
                        refresh_per_second=2)  # drawing more often would disturb what is measured
        self._task = self._bar.add_task("", total=self._n, cell="", left="")
        self._stack = ExitStack()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._stack.enter_context(self._bar)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    def say(self, text: str) -> None:
        """A line that stays, or on a terminal the bar's label."""
        if self._console.is_terminal:
            self._bar.update(self._task, cell=text)
        else:
            self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def begin(self, cell: Cell) -> None:
        self._began = time.monotonic()
        self._remaining.prepared(cell.case, self._began - self._ended)
        if self._console.is_terminal:
            self._bar.update(self._task, cell=_name(cell), left=self.time_left())

    def skip(self, cell: Cell) -> None:
        """The cell that was begun needs no row."""
        self._remaining.skipped(cell)
        self._bar.advance(self._task)

    def finish(self, record: Record) -> None:
        """The cell that was begun has its row."""
        self._ended = time.monotonic()
        self._remaining.finished(record, self._ended - self._began)
        self._bar.advance(self._task)
        if not self._console.is_terminal:
            place = f"[{self._n - len(self._remaining.left)}/{self._n}]"
            self.say(f"{place} {_name(record.cell)}: {_result(record)} ({self.time_left()})")
        elif record.status in ("wrong", "undecided", "nonfinite", "crash", "timeout", "oom"):
            self._console.print(f"{_name(record.cell)}: {_result(record)}", highlight=False, markup=False)

    def time_left(self) -> str:
        """In words, "" where nothing is finished yet."""
        left = self._remaining.seconds()
        if left is None:
            return ""
        return f"about {round(left / 60)} min left" if left >= 90 else f"about {round(left)} s left"


def _name(cell: Cell) -> str:
    return f"{cell.method} · {cell.case} · {cell.outputs} · {cell.dtype}"


def _result(record: Record) -> str:
    if record.status != "ok":
        return f"{record.status}: {record.reason}"
    middle = statistics.median(record.samples_s)
    return f"ok, {units.seconds(middle)}, {_error(record)}"


def _error(record: Record) -> str:
    """In words where it is no mistake: a limit is another kernel, a stochastic method estimates."""
    if record.kind == "limit" and record.error is not None and record.cell.quantity == "ntk":
        return f"distance {record.error:.2g} from the finite kernel"
    if record.kind == "stochastic" and record.error is not None:
        return f"an estimate, off by {record.error:.2g}"
    return f"error {units.error(record.error)}"
