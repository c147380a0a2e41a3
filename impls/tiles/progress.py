"""A bar of the pairs of examples that are done, with the time that the rest may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reference import InputError


@contextmanager
def bar(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """What it is told of more pairs; `done` are done before it begins, and tell nothing of the speed."""
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
