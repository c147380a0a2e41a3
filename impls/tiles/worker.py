"""Whoever computes tiles: one after the other, each checked, and written by a thread while the next is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from types import TracebackType
from typing import Any

import numpy as np

from impls.choice.costs import STRUCTURED
from impls.given.network import OwnNetwork
from impls.given.saying import say_nothing
from impls.own import finite, selfcheck
from impls.tiles.compute import Computer, examples
from impls.tiles.job import Job
from impls.tiles.plan import Region, Tile
from impls.tiles.progress import Advance
from impls.tiles.store import Store
from reference import InputError


class Worker:
    """Computes tiles of a store with one computer, whose factors it keeps from call to call; a context manager, at
    whose end all that it computed is written.

    `check`: the first tile is held against backward passes of the network. `stop`: once it is set, calls return after
    the tile that they are in.
    """

    def __init__(self, job: Job, store: Store, advance: Advance, *, check: bool = True,
                 computer: Computer | None = None, stop: Event | None = None) -> None:
        self.job, self.store, self.advance = job, store, advance
        self.computer = job.computer() if computer is None else computer
        self.unchecked = check and job.chosen.method in STRUCTURED
        self.stop = Event() if stop is None else stop
        self._writer = ThreadPoolExecutor(1, "ntk-tiles")
        self._last: Future[None] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._writer.shutdown()

    def __call__(self, tiles: Iterable[Tile]) -> None:
        """Those that are done already are left as they are. Raises `InputError` for a kernel that is wrong or not
        finite, and what went wrong with the tile before."""
        for tile in tiles:
            if self.stop.is_set():
                return
            values = self._values(tile)
            if values is not None:
                self._wait()  # for the one before: so two are in memory, and no more
                self._last = self._writer.submit(self._write, tile, values)

    def _values(self, tile: Tile) -> np.ndarray | None:
        region, values = self.store.plan.region(tile), self.store.computed(tile, self.computer)
        if values is None:
            return None
        check_finite(self.job, region, values)
        if self.unchecked and is_wrong(self.job, region, values, say_nothing):
            raise InputError(f"{self.job.chosen.method} computes a wrong kernel of this network in the tile "
                             f"{tuple(tile)} of {self.store.path}; name another method, and another store")
        self.unchecked = False
        return values

    def _write(self, tile: Tile, values: np.ndarray) -> None:
        self.store.write(tile, values)
        self.advance(self.store.plan.region(tile).pairs)

    def _wait(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()


def check_finite(job: Job, region: Region, values: np.ndarray) -> None:
    """Raises `InputError`, which says where they first appear, for NaN or infinity."""
    if finite.is_finite(values):
        return
    (r, r_end), (c, c_end) = ((each.start, each.stop) for each in region)
    try:
        finite.check(values, _of_tile(job, region), job.chosen.method)
    except InputError as error:
        raise InputError(f"{error}. That is in the tile of the examples {r} to {r_end - 1} of x1 and {c} to "
                         f"{c_end - 1} of {'x1' if job.own.x2 is None else 'x2'}, counted from its first") from None


def is_wrong(job: Job, region: Region, values: np.ndarray, say: Callable[[str], None]) -> str | None:
    """What is to compute the kernel instead of an engine that is wrong, after a warning."""
    instead: list[str] = []

    def compute(other: str, request: Any) -> np.ndarray:
        instead.append(other)
        return values

    request = replace(job.request, batch_size=None)
    selfcheck.checked(job.chosen.method, values, _of_tile(job, region), request, say, compute)
    return instead[0] if instead else None


def _of_tile(job: Job, region: Region) -> OwnNetwork:
    """The network with the examples of one tile."""
    own, x2 = job.own, None
    with finite.precision(own):
        if own.x2 is not None or region.rows != region.columns:
            x2 = examples(own.x1 if own.x2 is None else own.x2, region.columns)
        return own._replace(x1=examples(own.x1, region.rows), x2=x2, first=None)
