"""What is shown of the pairs of examples that are done, with the time that the rest may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from reference import InputError

Advance = Callable[[int], None]
"""Told how many pairs of examples more are done."""

Watch = Callable[[int, int], AbstractContextManager[Advance]]
"""Of the pairs that there are, and of those that were done before and tell nothing of the speed."""

EVERY = 30
"""Seconds between two lines."""


@contextmanager
def bar(total: int, done: int) -> Iterator[Advance]:
    """One by rich. Raises `InputError` where that is not installed."""
    try:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as TimeLeftColumn
    except ModuleNotFoundError as error:
        raise InputError("progress=True shows a bar by rich, which is not installed: pip install rich, or leave it "
                         "out") from error
    columns = (TextColumn("kernel"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"),
               TimeLeftColumn())
    with Progress(*columns, speed_estimate_period=600) as shown:
        task = shown.add_task("", total=total, completed=done)
        yield lambda pairs: shown.advance(task, pairs)


def lines(say: Callable[[str], None]) -> Watch:
    """A line now and then, where there is no terminal."""
    @contextmanager
    def watch(total: int, done: int) -> Iterator[Advance]:
        began = said = time.monotonic()
        now = done

        def advance(pairs: int) -> None:
            nonlocal now, said
            now += pairs
            if now == total or time.monotonic() - said >= EVERY:
                said = time.monotonic()
                left = (said - began) / (now - done) * (total - now)
                say(f"{100 * now / total:.1f} % of the pairs, about {left / 60:.1f} min left")

        yield advance
    return watch


@contextmanager
def nothing(total: int, done: int) -> Iterator[Advance]:
    """Shown."""
    yield lambda pairs: None
