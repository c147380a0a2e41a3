"""All missing tiles of a store, one after the other: computed here, written by a thread while the next is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from impls.choice.costs import STRUCTURED
from impls.own import finite, selfcheck
from impls.tiles.compute import Computer, examples
from impls.tiles.job import Job
from impls.tiles.lazy import LazyKernel
from impls.tiles.plan import Plan, Region, Tile
from impls.tiles.store import Store
from reference import InputError

Advance = Callable[[int], None]
"""Told how many pairs of examples more are done."""


def run(job: Job, path: str | Path, *, check: bool = True, watch: Callable[[int, int], AbstractContextManager[Advance]],
        say: Callable[[str], None]) -> LazyKernel:
    """The kernel at `path`, all of it: begun, gone on with, or extended. Tiles that are there are read once, to be sure
    of them, and damaged ones computed anew.

    `watch`: of the pairs of examples that there are, and of those that are done, what is told of more. Raises
    `InputError` for a store of another kernel, or one that another process works at.
    """
    store, first = job.store(path), None
    if store is None:
        job, first = _first(job, check=check, say=say)
        store = Store.create(path, job.identity)
    with store.locked():
        if damaged := store.check():
            say(f"ntk: computes anew {len(damaged)} damaged tiles")
        missing = set(store.missing())
        say(f"ntk: {job.chosen.method}, tiles of {' × '.join(map(str, store.plan.tile))} examples, "
            f"{len(missing)} of {len(store.plan.tiles)} to be computed")
        total = sum(store.plan.region(tile).pairs for tile in store.plan.tiles)
        left = sum(store.plan.region(tile).pairs for tile in missing)
        with watch(total, total - left) as advance:
            _compute(job, store, _in_order(job, store, missing), first, advance, check=check, say=say)
    return LazyKernel(Store.open(path))


def finite_tile(job: Job, region: Region, values: np.ndarray) -> np.ndarray:
    """`values`. Raises `InputError`, which says where they first appear, for NaN or infinity."""
    if not np.isfinite(values).all():
        (r, r_end), (c, c_end) = ((each.start, each.stop) for each in region)
        try:
            finite.check(values, _of_tile(job, region), job.chosen.method)
        except InputError as error:
            raise InputError(f"{error}. That is in the tile of the examples {r} to {r_end - 1} of x1 and {c} to "
                             f"{c_end - 1} of {'x1' if job.own.x2 is None else 'x2'}, counted from its first") from None
    return values


def _first(job: Job, *, check: bool, say: Callable[[str], None]) -> tuple[Job, tuple[Computer, np.ndarray]]:
    """The job and its first tile, before there is a store: of an engine that is wrong on this network, by Jacobians,
    with a warning."""
    plan = Plan(job.shape[0], None if job.own.x2 is None else job.shape[1], job.chosen.sizes.tile)
    region, computer = plan.region(Tile(0, 0)), job.computer()
    values = finite_tile(job, region, computer(region))
    if check and job.chosen.method in STRUCTURED:
        wrong = _is_wrong(job, region, values, say)
        if wrong and job.asking.method != "auto":
            raise InputError(f"{job.chosen.method} computes a wrong kernel of this network; leave the method out, or "
                             f"name {wrong}")
        if wrong:
            return _first(job.by(wrong), check=False, say=say)
    return job, (computer, values)


def _is_wrong(job: Job, region: Region, values: np.ndarray, say: Callable[[str], None]) -> str | None:
    """What is to compute the kernel instead, after a warning."""
    instead: list[str] = []

    def compute(other: str, request: Any) -> np.ndarray:
        instead.append(other)
        return values

    request = replace(job.request, batch_size=None)
    selfcheck.checked(job.chosen.method, values, _of_tile(job, region), request, say, compute)
    return instead[0] if instead else None


def _of_tile(job: Job, region: Region) -> Any:
    """The network with the examples of one tile."""
    own, (tile1, tile2), x2 = job.own, job.chosen.sizes.tile, None
    with finite.precision(own):
        if own.x2 is not None or region.rows != region.columns:
            x2 = examples(own.x1 if own.x2 is None else own.x2, region.columns, tile2)
        return own._replace(x1=examples(own.x1, region.rows, tile1), x2=x2, first=None)


def _in_order(job: Job, store: Store, missing: set[Tile]) -> list[Tile]:
    """Band by band, as many columns in one as factors are kept of, but that of the row."""
    bands = store.plan.bands(max(1, job.chosen.sizes.kept - 1))
    return [tile for band in bands for tile in band if tile in missing]


def _compute(job: Job, store: Store, tiles: Iterable[Tile], first: tuple[Computer, np.ndarray] | None,
             advance: Advance, *, check: bool, say: Callable[[str], None]) -> None:
    computer, known = first or (job.computer(), None)
    unchecked = check and first is None and job.chosen.method in STRUCTURED
    with Writer(store) as writer:
        for tile in tiles:
            region = store.plan.region(tile)
            values = known if known is not None and tile == (0, 0) else store.computed(tile, computer)
            if values is None:
                continue
            finite_tile(job, region, values)
            if unchecked and _is_wrong(job, region, values, say):
                raise InputError(f"{job.chosen.method} computes a wrong kernel of this network in the tile "
                                 f"{tuple(tile)} of {store.path}; name another method, and another store")
            unchecked = False
            writer.write(tile, values, lambda pairs=region.pairs: advance(pairs))


class Writer:
    """Writes one tile while the next one is computed. What goes wrong is raised by the next call, or at the end; an
    interrupted run ends with the tile that is being written whole."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._pool = ThreadPoolExecutor(1, "ntk-tiles")
        self._last: Future[None] | None = None

    def __enter__(self) -> Writer:
        return self

    def write(self, tile: Tile, values: np.ndarray, then: Callable[[], None]) -> None:
        """Returns as soon as the tile before is written."""
        self._wait()
        self._last = self._pool.submit(self._write, tile, values, then)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._pool.shutdown()
            self.store.manifest.close()

    def _write(self, tile: Tile, values: np.ndarray, then: Callable[[], None]) -> None:
        self.store.write(tile, values)
        then()

    def _wait(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()
