"""`Tracker`: three lines in a training loop of one's own."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from impls.frameworks.arrays import to_numpy
from reference import InputError
from studies.config import nearest
from studies.digests import digest
from studies.matrix import as_array
from studies.sinks import Record, Sink, open_sink
from studies.sinks.local import LocalStore
from studies.tracking.features import observe
from studies.tracking.losses import scores
from studies.tracking.measure import Measure, Memory, measure
from studies.tracking.untouched import untouched

State = dict[str, np.ndarray]


class Tracker:
    """Records what a network does on a probe batch, which stays the same, while it is trained.

        tracker = Tracker("runs/first", x_probe, y_probe, every=100, layers=("0", "2"))
        for step in range(steps):
            tracker(step, model)      # and the update as ever
        tracker.close()

    Everything is measured in evaluation mode. `model` is a `torch.nn.Module`, an Equinox module (with its state: a
    pair), a Flax NNX module, or ``f(params, x)`` with ``params=`` at the call. `x` (N, …) is an array of the framework
    or of NumPy, `y` (N,) classes or (N, …) numbers, for loss, accuracy and the alignment with the kernel. Steps
    divisible by `every` are recorded, and those in `at`. All fields of `Measure` are taken by name.

    Records go to a store in `folder` (`studies.sinks.local.LocalStore`, here `store`) and to `sinks`: "csv",
    "tensorboard", "wandb", or objects with `write` and `close`. Measuring changes nothing of the model or of the random
    generators, so that training goes on to the same weights, to the bit.

    To go on after an interruption, keep `state()`, arrays by name, with your checkpoint and give it as `state`: records
    of later steps are dropped, and made again.

    Raises `InputError` for a folder that holds records already where there is no state, for another probe batch than
    the state's, and for one that changed.
    """

    def __init__(self, folder: Path | str, x: Any, y: Any = None, *, every: int = 1, at: Iterable[int] = (),
                 sinks: Sequence[str | Sink] = (), run: str = "run", state: Mapping[str, np.ndarray] | None = None,
                 **measure: Any) -> None:
        if not isinstance(every, int | np.integer) or every < 1:
            raise InputError(f"every must be a positive number of steps, got {every!r}")
        if isinstance(sinks, str):
            raise InputError(f"sinks={sinks!r} is one name; give a tuple, ({sinks!r},)")
        for sink in sinks:
            if not isinstance(sink, str) and not (hasattr(sink, "write") and hasattr(sink, "close")):
                raise InputError(f"a sink is a name, or an object with write and close, got {sink!r}")
        fields = [each.name for each in dataclasses.fields(Measure)]
        for name in measure:
            if name not in fields:
                raise InputError(f"a tracker has no option {name!r}{nearest(name, fields)}")
        self.measure = Measure(**measure)
        self.measure.check()
        self._x = x if hasattr(x, "shape") else as_array(x, "x")  # a list would be one of batches
        if not len(self._x):
            raise InputError(f"the probe batch is empty, of shape {tuple(self._x.shape)}; give some examples")
        self._y, self._every, self._at = None if y is None else _targets(y, "y"), every, frozenset(at)
        self._probe, self._memory = self._digest(), Memory()
        if state is not None:
            self._restore(state)
        self.store = LocalStore(folder)
        self._begin()
        self._sinks = [open_sink(sink, Path(folder), run, self.store.records()) if isinstance(sink, str) else sink
                       for sink in sinks]

    @property
    def last_step(self) -> int | None:
        """The step of the latest record; None before the first."""
        return self._memory.step

    def due(self, step: int) -> bool:
        """Whether this step is one of those that are recorded."""
        return step % self._every == 0 or step in self._at

    def __call__(self, step: int, model: Any, *, params: Any = None, tasks: Mapping[str, tuple[Any, Any]] | None = None,
                 **scalars: float) -> Record | None:
        """Measure and record, where this step is due. Call it before the update with that number: step 0 is the
        initialisation.

        `tasks` are inputs and targets by name, of which "NAME/loss" and "NAME/accuracy" are recorded; `scalars` are
        recorded as they are. Steps must rise.
        """
        step = _whole(step)
        if not self.due(step):
            return None
        if self._memory.step is not None and step <= self._memory.step:
            raise InputError(f"step {step} comes after step {self._memory.step}; steps must rise")
        if self._digest() != self._probe:
            raise InputError("the probe batch is not the one of the first step: figures of different batches cannot be "
                             "compared. Give the tracker an array that nothing writes to, e.g. a copy")
        with untouched():
            record = measure(step, model, params, self._x, self._y, self.measure, self._memory)
            for name, (x, y) in (tasks or {}).items():
                outputs = observe(model, x, params=params).outputs
                record = _with(record, scores(name, outputs, _targets(y, name)))
        record = _with(record, {name: _number(name, value) for name, value in scalars.items()})
        for sink in (self.store, *self._sinks):
            sink.write(record)
        return record

    def state(self) -> State:
        """What `state` takes: the kernels and weights that later ones are compared with, and the probe's digest."""
        memory = self._memory
        return {"probe": np.array(self._probe), "step": np.array(-1 if memory.step is None else memory.step),
                **{f"first/{name}": value for name, value in memory.first.items()},
                **{f"previous/{name}": value for name, value in memory.previous.items()},
                **{f"measured/{name}": np.array(value) for name, value in memory.measured.items()}}

    def close(self) -> None:
        """Let the sinks finish; the store needs no closing."""
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _digest(self) -> str:
        return digest({"x": to_numpy(self._x)} | ({} if self._y is None else {"y": self._y}))

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        if missing := [name for name in ("probe", "step") if name not in state]:
            raise InputError(f"the state lacks {', '.join(missing)}; give what state() of a tracker returned")
        if str(state["probe"]) != self._probe:
            raise InputError("the probe batch is not the one of the state: figures of different batches cannot be "
                             "compared; give the same, or begin anew in another folder")
        step = int(state["step"])
        first, previous, measured = ({name.removeprefix(part): np.asarray(value) for name, value in state.items()
                                      if name.startswith(part)} for part in ("first/", "previous/", "measured/"))
        self._memory = Memory(first, previous, {name: int(value) for name, value in measured.items()},
                              None if step < 0 else step)

    def _begin(self) -> None:
        """Bring the store to the step of the memory."""
        step = -1 if self._memory.step is None else self._memory.step
        steps = self.store.steps()
        if steps and step < 0:
            raise InputError(f"{self.store.path.parent} holds records up to step {steps[-1]} already; give another "
                             "folder, or the state of that run as state=")
        if step >= 0 and step not in steps:
            raise InputError(f"{self.store.path.parent} holds no record of step {step}, at which the state was taken; "
                             "give the folder of that run")
        self.store.forget_after(step)
        self.store.note_about({"probe": self._probe, "measure": dataclasses.asdict(self.measure)})


def _whole(step: Any) -> int:
    """Of any framework's own number. Raises `InputError` for what is no whole number from 0 on."""
    try:
        found = operator.index(step)
    except TypeError as error:
        raise InputError(f"step must be a whole number, got {step!r}") from error
    if found < 0:
        raise InputError(f"step must be at least 0, got {found}")
    return found


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a number to be recorded, got {value!r}") from error


def _targets(y: Any, name: str) -> np.ndarray:
    """Truth values are the classes 0 and 1."""
    found = as_array(y, name)
    return found.astype(np.int64) if found.dtype.kind == "b" else found


def _with(record: Record, scalars: Mapping[str, float]) -> Record:
    return dataclasses.replace(record, scalars={**record.scalars, **scalars})
