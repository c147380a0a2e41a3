"""What the machine says of some calls, beside their time: what was taken from them, and how much they did."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from types import TracebackType

from bench.machine.instructions import Counter
from bench.machine.scheduling import Disturbance


def _nothing() -> None:
    """Nobody is to be waited for."""


wait_before_call: Callable[[], object] = _nothing
"""Done before each call, outside of what is measured; set in the processes of a duet, which wait for each other."""


class Meter:
    """``with meter: call()``, once for each call. Threads that run before it is made are not counted."""

    def __init__(self) -> None:
        self._disturbance = Disturbance()
        self._counter = _counter()
        self._before = 0
        self._instructions: list[int] = []

    def __enter__(self) -> None:
        wait_before_call()
        self._disturbance.begin()
        if self._counter is not None:
            self._before = self._counter.read()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._counter is not None:
            self._instructions.append(self._counter.read() - self._before)
        self._disturbance.end()

    def told(self) -> dict[str, float | int | None]:
        """The fields of a `Record` that come of it; None where the kernel does not tell."""
        share = self._disturbance.share
        return {"disturbance": share, "switches": None if share is None else self._disturbance.switches,
                "instructions": round(statistics.median(self._instructions)) if self._instructions else None}


def _counter() -> Counter | None:
    try:
        return Counter()
    except OSError:
        return None
