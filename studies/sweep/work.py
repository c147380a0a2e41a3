"""The points of a sweep in several processes, each of one thread, on the CPU."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import groupby
from multiprocessing.connection import wait as wait_for
from multiprocessing.synchronize import Event
from pathlib import Path

from impls.frameworks.environment import environment
from reference import InputError
from studies.sweep.points import Point
from studies.sweep.store import Result, Status, Store

POLL_S = 0.25
_ONE_THREAD = {**dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
               "JAX_PLATFORMS": "cpu"}
_XLA = "--xla_cpu_multi_thread_eigen=false"

Piece = list[tuple[str, Point]]
"""Keys and points of one compiled program."""


_stop: Event | None = None
"""In a process of a sweep: set where no further point is to be begun."""


def do(piece: Piece, folder: Path, figures: bool) -> None:
    """Compute the points one by one, each with its files and its row."""
    store = Store(folder)
    for key, point in piece:
        if _stop is not None and _stop.is_set():
            return
        began = time.perf_counter()
        status: Status
        try:
            status, reason, numbers = _one(store, key, point, figures)
        except Exception as error:  # the point is at fault, and the others go on
            status, reason, numbers = "failed", f"{type(error).__name__}: {error}", {}
        store.add(Result(key, point.row(), status, reason, numbers, time.perf_counter() - began))


def do_all(points: Sequence[tuple[str, Point]], folder: Path, *, processes: int, figures: bool,
           tell: Callable[[], None]) -> None:
    """`do` for all of them; `tell` is called now and then. With one process, here; else in new ones.

    Raises `InputError` where a process dies.
    """
    pieces = _pieces(points, processes)
    if processes == 1:
        for piece in pieces:
            for each in piece:
                do([each], folder, figures)
                tell()
        return
    variables = {**_ONE_THREAD, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_XLA}".strip()}
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with environment(variables), ProcessPoolExecutor(min(processes, len(pieces)), context, _start, (stop,)) as pool:
        left: set[Future[None]] = {pool.submit(do, piece, folder, figures) for piece in pieces}
        try:
            while left:
                done, left = wait(left, POLL_S, FIRST_COMPLETED)
                for future in done:
                    future.result()
                tell()
        except BrokenProcessPool as error:
            raise InputError("a process of the sweep died, of want of memory perhaps; the same command goes on from "
                             "here, with fewer --processes or a smaller network") from error
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _one(store: Store, key: str, point: Point, figures: bool) -> tuple[Status, str, dict[str, float]]:
    from studies.sweep.compute import compute

    found = compute(point)
    store.save_kernel(key, x=found.x, kernel=found.kernel, eigenvalues=found.found.values)
    if figures:
        from studies.figures import overview, save

        drawn = overview(found.kernel, title=point.name(), found=found.found)
        store.put(store.figure_path(key), lambda path: save(drawn, path))
    wrong = found.wrong()
    return "wrong" if wrong else "ok", wrong, {**found.numbers, "check_error": found.error, "kernel_s": found.kernel_s}


def _pieces(points: Sequence[tuple[str, Point]], processes: int) -> list[Piece]:
    """Those of one program together, as it is compiled once a process; no piece is more than a process's share."""
    share = math.ceil(len(points) / processes)
    together = [list(group) for _, group in groupby(points, key=lambda each: each[1].program)]
    return [group[i : i + share] for group in together for i in range(0, len(group), share)]


def _start(stop: Event) -> None:
    """What a process does first. Ctrl-C reaches all of them, and is the parent's to answer: points that are begun are
    finished. Where the parent is killed they would wait for work for ever, and end at once."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait_for([parent.sentinel]), os._exit(1)), daemon=True).start()
