"""A run on a cluster: the cells are measured wherever a worker is free, and written here as they come."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from rich.console import Console

from bench.cells.options import Options
from bench.cluster.connection import check_name, connected
from bench.cluster.line import Ended, Line, WorkersKilled
from bench.cluster.node import Measured, Setup, measured, where
from bench.records.environment import telling
from bench.records.record import Environment, Record
from bench.running.order import Place
from bench.running.pool import Outcome
from bench.running.progress import Progress
from bench.running.runner import Run, now
from reference import InputError


class ClusterRun(Run):
    """A `Run` whose rows come from the workers of ``options.cluster``, each with the name of its node and the
    environment of that machine. Raises `InputError` or `StoreError` where it cannot be."""

    def __init__(self, options: Options, console: Console) -> None:
        if options.adjusted_profile().engines:
            raise InputError(f"in the profile {options.profile} methods take turns on one machine: no --cluster")
        assert options.cluster is not None
        check_name(options.cluster)
        super().__init__(options, console)
        self._stack = ExitStack()
        try:
            self.client = self._stack.enter_context(connected(options.cluster))
            self.nodes = self._nodes()
        except BaseException:
            self._stack.close()
            raise
        self.setup = Setup(uuid.uuid4().hex, options, tuple(self.modules), self.n_checks)
        self.line = Line(self.client)

    def measure(self) -> None:
        """As of one machine; the cluster, if this started it, ends with it."""
        with self._stack:
            super().measure()

    def _rows(self) -> list[Record]:
        """Of whichever machine with the same versions: a run that goes on may have other nodes."""
        due = telling(self.environment.versions)
        same = {key for key, each in self.store.environments().items() if telling(each.versions) == due}
        return [record for record in self.store.records() if record.node and record.environment in same]

    def _measure_places(self, places: Sequence[Place], found: Outcome, progress: Progress) -> None:
        progress.begin(places[0].cell)
        for place in places:
            self.line.add(f"cell-{place.key}", (place, found), measured, self.setup, place, found)
        self._write(self.line.arrived(), progress)

    def _finish(self, progress: Progress) -> None:
        self._write(self.line, progress)

    def _write(self, arrived: Iterable[tuple[Any, Ended]], progress: Progress) -> None:
        for (place, found), ended in arrived:
            row, environment, readings = self._answer(place, found, ended)
            self.store.add_environment(environment)
            for reading in readings:
                self.store.add_reading(environment.key, now(), reading)
            progress.finish(self.store.add(row))
            progress.begin(place.cell)  # the next is timed from here: from one row to the next

    def _answer(self, place: Place, found: Outcome, ended: Ended) -> Measured:
        """The row, or that of a cell which its workers did not survive."""
        try:
            return ended.result()
        except WorkersKilled as error:
            node, said = error.node, f"the workers that measured it were killed: {error}"
            row = self.measuring.record(place, found.measured["info"] if found.status != "ok" else found.answer.info,
                                        Outcome("crash", said), now())
            return Measured(replace(row, node=node), self.environment, ())

    def _nodes(self) -> dict[str, Environment]:
        """Of the workers that are there. Raises `InputError` for versions other than here."""
        nodes = dict(self.client.run(where).values())
        for node, environment in nodes.items():
            if differing := list(_differing(environment, self.environment)):
                raise InputError(f"the node {node} has other versions than this machine: {', '.join(differing)}; "
                                 "install the same on both")
        return nodes


def _differing(one: Environment, other: Environment) -> Iterator[str]:
    left, right = telling(one.versions), telling(other.versions)
    for name in sorted({*left, *right}):
        if left.get(name) != right.get(name):
            yield f"{name} {left.get(name, 'none')} and not {right.get(name, 'none')}"
