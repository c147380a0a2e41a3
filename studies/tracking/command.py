"""``python -m studies track``: the run with its progress, a summary, and a figure."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from studies.sinks import Record
from studies.sinks.local import LocalStore
from studies.tracking.options import Options
from studies.tracking.run import track

__all__ = ["Options", "run"]

FIGURE = "track.png"


def run(options: Options, console: Console | None = None) -> int:
    """Do it, print what was found, and save OUT/track.png; the exit code."""
    from studies.figures import save
    from studies.tracking.figure import figure

    console = console or Console()
    with Shown(console, options.steps) as shown:
        store = track(options, say=shown.step)
    _summary(store, console)
    title = f"{options.network.kind} on {options.data}, {options.shift.mode.replace('_', ' ')}"
    of_task = options.optimiser.steps if options.shift.tasks > 1 else None
    save(figure(store, title if options.shift.mode != "none" else title.split(",")[0], of_task), options.out / FIGURE)
    console.print(f"records: {store.path}\nfigure: {options.out / FIGURE}", highlight=False, soft_wrap=True)
    return 0


class Shown:
    """A bar with the time left on a terminal, else a line for each record."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps = console, steps
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                             console=console, disable=not console.is_terminal, transient=True)
        self._task = self._bar.add_task("training", total=steps)
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, step: int, record: Record | None) -> None:
        self._began = self._began or (time.monotonic(), step)
        self._bar.update(self._task, completed=step, description=_in_short(record) if record else None)
        if record is not None and not self._console.is_terminal:
            self._console.print(f"[{step}/{self._steps}] {_in_short(record)}{self._left(step)}", highlight=False,
                                markup=False, soft_wrap=True)

    def _left(self, step: int) -> str:
        """At the pace so far, of this call alone."""
        began, first = self._began or (0.0, step)
        if step == first or step == self._steps:
            return ""
        return f" (about {round((time.monotonic() - began) / (step - first) * (self._steps - step))} s left)"


def _in_short(record: Record) -> str:
    shown = {"current/loss": "loss", "current/accuracy": "accuracy", "kernel/effective_rank": "rank of the kernel",
             "kernel/change": "change of the kernel"}
    said = [f"{label} {record.scalars[name]:.3g}" for name, label in shown.items() if name in record.scalars]
    return ", ".join([*said, *record.notes.values()])


def _summary(store: LocalStore, console: Console) -> None:
    """The scores of each task as its training ended."""
    names = set(store.names())
    tasks = sorted({int(name.split("/")[1]) for name in names if name.startswith("task/")})
    for index in tasks:
        kind = "accuracy" if f"task/{index}/accuracy" in names else "loss"
        steps, values = store.scalars(f"task/{index}/{kind}")
        console.print(f"task {index}: {kind} {values[-1]:.4g} at step {steps[-1]}", highlight=False)
