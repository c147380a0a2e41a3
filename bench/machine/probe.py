"""A fixed piece of work by which a run measures the machine: how many times slower than its best is it now?

One product of matrices (a core's arithmetic, and who else runs there) and one copy (the memory that cores share). Both
come in pieces of a fraction of a millisecond: the quickest piece ever is the best that the machine does, found even
where others take the core every few milliseconds; their mean now is what a measurement meets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import threadpoolctl

from bench.machine.threads import cores

_SIZE = 256
_BYTES = 8 * 2**20
_PIECES = 20
"""Of each, in all: 10 ms together where nobody disturbs."""
_MOST_CORES = 4


@dataclass(frozen=True)
class Reading:
    """Seconds of one piece: the mean, and the best. Of several cores, the slowest's mean and the quickest's best."""

    product_s: float
    copy_s: float
    best_product_s: float
    best_copy_s: float

    def slower_than(self, best: Reading) -> float:
        """How many times slower than the best pieces of `best`, in what has become slower the most."""
        return max(self.product_s / best.best_product_s, self.copy_s / best.best_copy_s)

    def best_of(self, other: Reading | None) -> Reading:
        """The quickest of both in everything."""
        if other is None:
            return self
        return Reading(*(min(pair) for pair in zip(_fields(self), _fields(other), strict=True)))


class Probe:
    """Ready to be taken again and again, in this process, on the cores that the cells are measured on."""

    def __init__(self, threads: int) -> None:
        self._cores = cores()[:min(threads, _MOST_CORES)]
        self._pieces = max(2, _PIECES // len(self._cores))
        self._libraries = threadpoolctl.ThreadpoolController()
        self._factor = np.full((_SIZE, _SIZE), 0.5, np.float32)
        self._product = np.empty_like(self._factor)
        self._source = np.ones(_BYTES, np.uint8)
        self._copy = np.empty_like(self._source)

    def take(self) -> Reading:
        """Of each core one after the other; the caller's own affinity is as it was afterwards."""
        with self._libraries.limit(limits=1):
            seconds = [self._on(core) for core in self._cores]
        products, copies = ([pair[at] for pair in seconds] for at in (0, 1))
        return Reading(max(map(_mean, products)), max(map(_mean, copies)), min(map(min, products)),
                       min(map(min, copies)))

    def _on(self, core: int) -> tuple[list[float], list[float]]:
        with _pinned(core):
            return (self._timed(lambda: np.matmul(self._factor, self._factor, out=self._product)),
                    self._timed(lambda: np.copyto(self._copy, self._source)))

    def _timed(self, piece: Callable[[], object]) -> list[float]:
        piece()
        seconds = []
        for _ in range(self._pieces):
            began = time.perf_counter()
            piece()
            seconds.append(time.perf_counter() - began)
        return seconds


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    """This thread alone; the others of the process stay where they are."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _fields(reading: Reading) -> tuple[float, ...]:
    return reading.product_s, reading.copy_s, reading.best_product_s, reading.best_copy_s
