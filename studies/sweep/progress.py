"""What a sweep shows while it runs: a bar with the time left on a terminal, else a line now and then."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

LINE_EVERY_S = 10.0


class Progress:
    """Used as a context manager; `total` points, of which `done` are done already."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        self._console, self._total, self._before, self._done = console, total, done, done
        self._began = self._line = time.monotonic()
        self._bar = Bar(TextColumn("sweep"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                        TextColumn("{task.fields[left]}"), console=console, transient=True)
        self._task = self._bar.add_task("", total=total, completed=done, left="")
        self._stack = ExitStack()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._stack.enter_context(self._bar)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    def update(self, done: int) -> None:
        """So many are done now."""
        self._done = done
        self._bar.update(self._task, completed=done, left=self.time_left())
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._line > LINE_EVERY_S or done == self._total):
            self._line = now
            self._console.print(f"[{done}/{self._total}] {self.time_left()}", markup=False, highlight=False)

    def time_left(self) -> str:
        """From the points of this run so far, those alike or not."""
        here = self._done - self._before
        if here == 0:
            return ""
        left = (time.monotonic() - self._began) / here * (self._total - self._done)
        return f"about {round(left / 60)} min left" if left >= 90 else f"about {round(left)} s left"
