"""A kernel on disk by a cluster: workers compute tiles, this process alone writes them and the manifest."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from bench.cells.kernels import KernelOptions
from bench.cluster.connection import check_name, connected
from bench.cluster.line import Line, WorkersKilled
from bench.cluster.node import name as node_name
from impls.choice.costs import STRUCTURED
from impls.frameworks.face import processors
from impls.frameworks.faces import face
from impls.given.saying import say_nothing
from impls.own.selfcheck import SLACK
from impls.tiles import deal, identity
from impls.tiles.identity import Identity
from impls.tiles.job import Job
from impls.tiles.lazy import LazyKernel
from impls.tiles.plan import Plan, Tile
from impls.tiles.progress import Advance, Watch
from impls.tiles.run import run
from impls.tiles.store import Store
from impls.tiles.worker import check_finite, is_wrong
from reference import InputError
from reference.tolerances import tolerance


@dataclass(frozen=True)
class Setup:
    """What a run asks of each machine: the same kernel, in the same tiles. `share`: workers of one machine."""

    key: str
    options: KernelOptions
    identity: Identity
    share: int


def kernel(options: KernelOptions, *, watch: Watch, say: Callable[[str], None]) -> tuple[LazyKernel, list[str]]:
    """The kernel at ``options.out`` by the workers of ``options.cluster``, all of it but the tiles that no worker
    survived, and what to say of these.

    Raises `InputError` for what cannot be used, and for a node that has another network, inputs or versions.
    """
    assert options.cluster is not None
    check_name(options.cluster)
    lost = list[str]()

    def by_workers(job: Job, store: Store, missing: Sequence[Tile], advance: Advance) -> None:
        with connected(options.cluster or "") as client:
            lost.extend(_dealt(job, store, missing, options, client, advance, say))

    return run(options.job(), options.out, check=options.check, watch=watch, say=say, by=by_workers), lost


def _dealt(job: Job, store: Store, missing: Sequence[Tile], options: KernelOptions, client: Any, advance: Advance,
           say: Callable[[str], None]) -> Iterator[str]:
    """Yields what to say of tiles that are lost."""
    line = Line(client)
    hosts = [worker["host"] for worker in line.workers().values()]
    say(f"ntk: {len(hosts)} workers on {len(set(hosts))} machines")
    of_node = replace(options, out=options.out.absolute(), method=job.chosen.method, devices=None, cluster=None,
                      tile=store.plan.tile)  # pyright: ignore[reportArgumentType]  (two numbers are taken as well)
    setup = Setup(uuid.uuid4().hex, of_node, store.identity, max(map(hosts.count, hosts), default=1))
    for row in _rows(job, store, missing):
        line.add(repr(row), row, computed, setup, row)
    for row, ended in line:
        try:
            found = ended.result()
        except WorkersKilled as error:
            tiles = ", ".join(str(tuple(tile)) for tile in row)
            yield f"crash: the tiles {tiles}: the workers that computed them were killed: {error}"
            continue
        for tile, (axes, values) in zip(row, found, strict=True):
            store.write(tile, values.transpose(axes))
            advance(store.plan.region(tile).pairs)


def _rows(job: Job, store: Store, missing: Sequence[Tile]) -> Iterator[tuple[Tile, ...]]:
    """The tiles of one row of a band, as wide as factors are kept of: those of the row are made once, and those of the
    columns once a worker. (Narrower bands, as `deal` gives to several devices, would make the rows' more often.)"""
    for band in deal.bands(job, store, missing):
        for _, row in groupby(band, key=lambda tile: tile.row):
            yield tuple(row)


class _Machine:
    """Of this process: a job, and a computer that keeps its factors."""

    def __init__(self, setup: Setup) -> None:
        self.job = setup.options.job()
        own = self.job.own
        face(own.framework).set_threads(max(1, processors() // setup.share))
        digests = self.job.digest(0), self.job.digest(1)
        differing = identity.differences(setup.identity, self.job.identity, digests, SLACK * tolerance(own.dtype))
        if differing:
            raise InputError(f"the node {node_name()} would compute another kernel. {'; '.join(differing)}. Give it "
                             "the files and the versions of this machine")
        self.computer = self.job.computer()
        self.unchecked = setup.options.check and self.job.chosen.method in STRUCTURED
        stored = setup.identity
        self.plan = Plan(stored.x1.examples, None if stored.x2 is None else stored.x2.examples, stored.tile)


_machines: dict[str, _Machine] = {}


def computed(setup: Setup, tiles: Sequence[Tile]) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """In a worker: the numbers of these tiles, in the order in which they lie in memory, and how to transpose them, as
    Dask would copy what is not contiguous. Raises `InputError` for a kernel that is wrong or not finite."""
    machine = _machines.get(setup.key)
    if machine is None:
        machine = _machines[setup.key] = _Machine(setup)
    job, plan = machine.job, machine.plan
    found, layout = list[tuple[tuple[int, ...], np.ndarray]](), machine.computer.between.layout
    for tile in tiles:
        region = plan.region(tile)
        values = machine.computer(region)
        check_finite(job, region, values)
        if machine.unchecked and is_wrong(job, region, values, say_nothing):
            raise InputError(f"{job.chosen.method} computes a wrong kernel of this network in the tile {tuple(tile)}; "
                             "name another method, and another store")
        machine.unchecked = False
        found.append((tuple(map(int, np.argsort(layout))), values.transpose(layout)))
    return found
