"""One process of a comparison: set-up, first calls, then single calls, each by two clocks.

Less than a row of ``python -m bench run``, and quicker: no memory, no truth. What the kernel is, is told by a few of
its entries, so that two sides that compute different kernels are not compared by their time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import impls
from bench.cells.cases import CaseSource
from bench.cells.methods import load_method
from bench.machine.scheduling import Disturbance
from bench.records.record import Cell, Send
from bench.running.measure import request_of
from impls import Array, MethodNotInstalled
from impls.frameworks.arrays import block_until_ready, to_numpy
from impls.frameworks.faces import face

LEAST_CALLS, MOST_CALLS = 10, 300
PATIENCE = 10.0
WARM_CALLS = 2
"""After the first call, and not counted: caches and the allocator settle."""
ENTRIES = 64
"""Of the kernel, evenly over it."""


@dataclass(frozen=True, eq=False)
class Job:
    """What one process measures."""

    cell: Cell
    source: CaseSource
    impl: str | None = None
    """``FILE.py:OBJECT``, for a method that is not in the registry."""
    steady_s: float = 0.2
    """Calls are made until they have taken this long on a core, or `PATIENCE` times as long by the clock; `LEAST_CALLS`
    at least and `MOST_CALLS` at most."""
    planted: int = 0
    """Turns of an idle loop after each call, within what is timed: a slow-down that is known."""


def sample(send: Send, job: Job) -> dict[str, Any]:
    """Seconds of each call, by the clock (`wall`) and on a core (`cpu`, all threads); the share of the time of all in
    which the process was ready and did not run (`disturbance`, None where the kernel does not tell); `entries` of the
    kernel. Or `unsupported`, with the reason."""
    try:
        method = load_method(job.cell.method, job.impl)
    except MethodNotInstalled as error:
        return {"unsupported": str(error)}
    case, cell = job.source.build(), job.cell
    request = request_of(cell)
    if reason := impls.unsupported(method, case, request):
        return {"unsupported": reason}
    of_framework = face(method.framework)
    of_framework.wake(cell.device)
    of_framework.set_threads(cell.threads)
    send("set-up", {})
    compute = method.prepare(case, request)
    send("calls", {})
    kernel = to_numpy(compute()).astype(np.float64).ravel()
    gc.collect()
    gc.freeze()
    return _calls(compute, job) | {"entries": kernel[:: max(1, kernel.size // ENTRIES)][:ENTRIES].tolist()}


def idle(turns: int) -> None:
    """A loop of so many turns that computes nothing."""
    for _ in range(turns):
        pass


def _calls(compute: Callable[[], Array], job: Job) -> dict[str, Any]:
    for _ in range(WARM_CALLS):
        block_until_ready(compute())
    wall: list[float] = []
    cpu: list[float] = []
    disturbance = Disturbance()
    disturbance.begin()
    while len(wall) < MOST_CALLS and (len(wall) < LEAST_CALLS or not _enough(sum(cpu), sum(wall), job.steady_s)):
        gc.collect()
        gc.disable()
        on_core, begin = time.process_time(), time.perf_counter()
        block_until_ready(compute())
        idle(job.planted)
        end, on_core_after = time.perf_counter(), time.process_time()
        gc.enable()
        wall.append(end - begin)
        cpu.append(on_core_after - on_core)
    disturbance.end()
    return {"wall": wall, "cpu": cpu, "disturbance": disturbance.share}


def _enough(cpu_s: float, wall_s: float, steady_s: float) -> bool:
    """On a busy machine as many calls are made as on a quiet one; what only waits comes to an end as well."""
    return cpu_s >= steady_s or wall_s >= PATIENCE * steady_s
