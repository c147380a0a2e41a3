"""The training run: tasks, steps, records, checkpoints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reference import InputError
from studies.data import Data, load
from studies.digests import digest
from studies.sinks import Record, Sink
from studies.sinks.local import LocalStore
from studies.tracking import checkpoint
from studies.tracking.features import weights
from studies.tracking.options import Options
from studies.tracking.shifts import task
from studies.tracking.tracker import Tracker
from studies.tracking.trainers import Trainer, make

CHECKPOINT = "checkpoint.npz"

Say = Callable[[int, Record | None], None]
"""Called after each step with the number of steps done, and the record where there is one."""


def track(options: Options, *, say: Say = lambda *_: None, sinks: Sequence[Sink] = ()) -> LocalStore:
    """Train and record as `options` say, or go on where the run in that folder was stopped.

    `sinks` are objects beside those that the options name. Raises `InputError` for what cannot be used, and for a
    folder whose run had other options, data or initial weights.
    """
    options.check()
    run = Run(options)
    with run.tracker(sinks) as tracker:
        for step in range(run.start, options.steps + 1):
            record = run.record(step, tracker)
            say(step, record)
            if step < options.steps:
                run.trainer.step(*run.batch(step))
    return tracker.store


class Run:
    """A run at the step `start`, up to which it has been done."""

    def __init__(self, options: Options) -> None:
        self.options = options
        data = load(options.data)
        n = len(data.x_train) if options.examples is None else options.examples
        self.data = dataclasses.replace(data, x_train=data.x_train[:n], y_train=data.y_train[:n])
        self._current: tuple[int, Data] = 0, task(self.data, options.shift, 0, options.seed)
        first = self._current[1]
        outputs = first.classes or int(np.prod(first.y_train.shape[1:]))
        self.trainer: Trainer = make(options, first.x_train.shape[1:], outputs)
        self.probe = first.x_train[:options.probe].copy(), first.y_train[:options.probe].copy()
        self.about = {"options": json.loads(json.dumps(options.as_noted())),
                      "data": digest({"x": self.data.x_train, "y": self.data.y_train}),
                      "initial weights": digest(weights(self.trainer.model))}
        self.start, self._state = 0, None
        if (options.out / CHECKPOINT).exists():
            self._restore()

    def tracker(self, sinks: Sequence[Sink]) -> Tracker:
        options = self.options
        if self._state is None and (store := LocalStore(options.out)).about().get("run", self.about) == self.about:
            store.forget_after(-1)  # of a run that was killed before its first checkpoint
        layers = options.measure.layers or self.trainer.layers
        measure = {each.name: getattr(options.measure, each.name) for each in dataclasses.fields(options.measure)}
        ends = range(0, options.steps + 1, options.optimiser.steps)
        tracker = Tracker(options.out, *self.probe, every=options.every, at={*ends, *options.at},
                          sinks=(*options.sinks, *sinks), run=options.out.name or "run", state=self._state,
                          **{**measure, "layers": layers})
        tracker.store.note_about({"run": self.about})
        return tracker

    def task(self, index: int) -> Data:
        """The one that was asked for last is kept."""
        if self._current[0] != index:
            self._current = index, task(self.data, self.options.shift, index, self.options.seed)
        return self._current[1]

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the step: each epoch of a task passes all its examples, but for what no full batch is left of."""
        index, inner = divmod(step, self.options.optimiser.steps)
        data = self.task(index)
        size = min(self.options.optimiser.batch_size, len(data.x_train))
        epoch, place = divmod(inner, len(data.x_train) // size)
        order = np.random.default_rng((self.options.seed, index, epoch)).permutation(len(data.x_train))
        rows = order[place * size:(place + 1) * size]
        return data.x_train[rows], data.y_train[rows]

    def tasks(self, step: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Test examples by the task's name, of the one that was trained last."""
        current = max(step - 1, 0) // self.options.optimiser.steps
        first = 0 if self.options.evaluate_seen else current
        found = {}
        tested = dataclasses.replace(self.data, x_train=self.data.x_train[:1])  # only the test data have to be made
        for index in range(first, current + 1):
            data = task(tested, self.options.shift, index, self.options.seed) if index < current else self.task(index)
            found[f"task/{index}"] = data.x_test[:self.options.evaluate], data.y_test[:self.options.evaluate]
        return found | {"current": found[f"task/{current}"]}

    def record(self, step: int, tracker: Tracker) -> Record | None:
        """And a checkpoint; None where the step is not due, and at the one from which the run goes on."""
        if not tracker.due(step) or (self._state is not None and step == self.start):
            return None
        record = tracker(step, self.trainer.model, tasks=self.tasks(step))
        arrays = {**{f"trainer/{name}": value for name, value in self.trainer.arrays().items()},
                  **{f"tracker/{name}": value for name, value in tracker.state().items()}}
        checkpoint.save(self.options.out / CHECKPOINT, arrays, {"step": step, "run": self.about})
        return record

    def _restore(self) -> None:
        arrays, about = checkpoint.load(self.options.out / CHECKPOINT)
        self._check_same(about["run"])
        self.trainer.restore(_under("trainer/", arrays))
        self._state, self.start = _under("tracker/", arrays), about["step"]

    def _check_same(self, before: dict[str, Any]) -> None:
        if before == self.about:
            return
        then, now = _flat(before), _flat(self.about)
        changed = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
        said = [f"{name.removeprefix('options.')} was {then.get(name)!r}, and is {now.get(name)!r}"
                for name in changed if name.startswith("options.")]
        said = said or [f"with other {name}" for name in changed]  # of which digests are all that is known
        raise InputError(f"the run in {self.options.out} is another one: {'; '.join(said)}; give its options, or "
                         "choose another folder with --out")


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _flat(table: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found
