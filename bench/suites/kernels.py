"""airspeed velocity: time, peak memory, error and growth of one kernel, over the axes of `cells`.

The process is the unit of airspeed velocity's statistics here: each gives one sample, the least that one of its calls
was charged, and `ROUNDS` processes are what its test needs to see a difference (Mann-Whitney with p < 0.002, which
seven a side reach and no fewer, and ten with a disturbed one among them). Samples of one process are not independent,
though airspeed velocity takes them to be.
"""

from __future__ import annotations

import math
import sys
import warnings

from .cells import DEFAULT, ENGINES, NAMES, SPAN, Cell, Skip, asked, preload, prepare, selected

ROUNDS = 10
VERSION = "2"
"""Of what is measured: raised with it, as figures of two versions are not compared."""

if "run_server" in sys.argv:  # the process from which airspeed velocity forks the others
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # nothing runs yet that a fork could break
    preload()

AXES = selected()


class _Reading:
    """A clock that moves by what it is told, for airspeed velocity reads one before and after a call."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Kernel:
    """One kernel of an MLP, x2 = x1, on one thread."""

    params = AXES.values()
    param_names = NAMES
    version = VERSION
    timeout = 300
    rounds = ROUNDS
    number = 1
    repeat = 1
    warmup_time = 0  # the set-up has made the first call
    timer = _Reading()

    def setup(self, *values: object) -> None:
        try:
            self.prepared = prepare(Cell(*values))  # pyright: ignore[reportArgumentType]
        except Skip as reason:
            print(reason)  # airspeed velocity keeps what a set-up prints beside the cell
            raise

    def time_kernel(self, *values: object) -> None:
        self.timer.now += self.prepared.seconds()

    def peakmem_kernel(self, *values: object) -> None:
        """Of the whole process, frameworks included: airspeed velocity knows no baseline."""
        self.prepared.call()

    def track_error(self, *values: object) -> float:
        """The error as the gate normalises it; a wrong kernel fails."""
        return self.prepared.error

    track_error.unit = "1"  # pyright: ignore[reportFunctionMemberAccess]


class Growth:
    """How the time grows with the width: p in time ∝ widthᵖ between the two of `SPAN`."""

    params = (AXES.methods if len(AXES.widths) > 1 else ENGINES, *(values[:1] for values in AXES.values()[2:]))
    param_names = (NAMES[0], *NAMES[2:])
    version = VERSION
    timeout = 600

    def setup(self, method: str, *values: object) -> None:
        try:
            self.prepared = [prepare(Cell(method, width, *values)) for width in SPAN]  # pyright: ignore[reportArgumentType]
        except Skip as reason:
            print(reason)
            raise

    def track_exponent(self, *values: object) -> dict[str, object]:
        """One sample a process, as of times: without them airspeed velocity would call each wobble a change."""
        narrow, wide = (prepared.seconds() for prepared in self.prepared)
        return {"samples": [math.log(wide / narrow) / math.log(SPAN[1] / SPAN[0])], "number": 1}

    track_exponent.unit = "1"  # pyright: ignore[reportFunctionMemberAccess]
    track_exponent.rounds = ROUNDS  # pyright: ignore[reportFunctionMemberAccess]


def track_cells() -> int:
    """How many cells of the default this commit can measure; that none can be is a failure, not a gap."""
    found, reason = 0, ""
    for cell in DEFAULT.cells():
        try:
            asked(cell)
        except Skip as skip:
            reason = reason or str(skip)
        else:
            found += 1
    if not found:
        raise RuntimeError(f"this commit measures nothing: {reason}")
    return found


track_cells.unit = "cells"  # pyright: ignore[reportFunctionMemberAccess]
track_cells.version = VERSION  # pyright: ignore[reportFunctionMemberAccess]
