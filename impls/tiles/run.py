"""All missing tiles of a store, on one device or dealt out to several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from impls.choice.costs import STRUCTURED
from impls.tiles import deal
from impls.tiles.compute import Computer
from impls.tiles.job import Job
from impls.tiles.lazy import LazyKernel
from impls.tiles.plan import Plan, Tile
from impls.tiles.progress import Advance, Watch
from impls.tiles.store import Store
from impls.tiles.worker import Worker, check_finite, is_wrong
from reference import InputError

FIRST = Tile(0, 0)


By = Callable[[Job, Store, Sequence[Tile], Advance], None]
"""Computes and writes the missing tiles."""


def run(job: Job, path: str | Path, *, watch: Watch, say: Callable[[str], None], check: bool = True,
        by: By | None = None) -> LazyKernel:
    """The kernel at `path`, all of it: begun, gone on with, or extended. Tiles that are there are read once, to be sure
    of them, and damaged ones computed anew. `by`: who else does that but the devices of this process.

    Raises `InputError` for a store of another kernel, or one that another process works at.
    """
    to = deal.devices(job)
    store, computer, values = job.store(path), None, None
    if store is None:
        job, computer, values = first_tile(job, check=check, say=say)
        store = Store.create(path, job.identity, computer.between.layout)
    with store.locked():
        if values is not None:
            store.write(FIRST, values)
        elif damaged := store.check():
            say(f"ntk: computes anew {len(damaged)} damaged tiles")
        missing = store.missing()
        say(f"ntk: {job.chosen.method}, tiles of {' × '.join(map(str, store.plan.tile))} examples, "
            f"{len(missing)} of {len(store.plan.tiles)} to be computed")
        total, left = (sum(store.plan.region(tile).pairs for tile in tiles) for tiles in (store.plan.tiles, missing))
        with watch(total, total - left) as advance:
            if by is not None and missing:
                by(job, store, missing, advance)
            elif to and missing:
                deal.compute(job, store, deal.bands(job, store, missing, len(to)), to, advance, check=check)
            elif missing:
                with Worker(job, store, advance, check=check and computer is None, computer=computer) as worker:
                    worker(tile for band in deal.bands(job, store, missing) for tile in band)
    store.refresh()
    return LazyKernel(store)


def first_tile(job: Job, *, check: bool, say: Callable[[str], None]) -> tuple[Job, Computer, np.ndarray]:
    """The job, and its first tile with what computed it, before there is a store: a network that fails leaves none,
    and one that the engine is wrong on is computed by Jacobians, with a warning."""
    plan = Plan(job.shape[0], None if job.own.x2 is None else job.shape[1], job.chosen.sizes.tile)
    region, computer = plan.region(FIRST), job.computer()
    values = computer(region)
    check_finite(job, region, values)
    wrong = is_wrong(job, region, values, say) if check and job.chosen.method in STRUCTURED else None
    if wrong and job.asking.method != "auto":
        raise InputError(f"{job.chosen.method} computes a wrong kernel of this network; leave the method out, or name "
                         f"{wrong}")
    return first_tile(job.by(wrong), check=False, say=say) if wrong else (job, computer, values)
