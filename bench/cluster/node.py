"""The inside of a worker: its machine measures one cell after the other, as a run on one machine does."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from bench.cells.options import Options
from bench.cluster.connection import check_can_start_processes
from bench.machine.probe import Probe, Reading
from bench.records.environment import describe_environment
from bench.records.record import Environment, Record
from bench.running.again import Attempts
from bench.running.order import Place
from bench.running.pool import Outcome, Pool
from bench.running.runner import Measuring, described


@dataclass(frozen=True)
class Setup:
    """What a run asks of each machine. `key` tells it from other runs, whose cells other processes measure."""

    key: str
    options: Options
    modules: tuple[str, ...]
    n_checks: int


class Measured(NamedTuple):
    """What comes back of a cell: its row, where that was, and what the probe of the machine read around it."""

    record: Record
    environment: Environment
    readings: tuple[Reading, ...]


class _Machine:
    """Of this process: the fork server is there once."""

    def __init__(self, setup: Setup) -> None:
        check_can_start_processes()
        pool = Pool(setup.modules, setup.options.threads, setup.options.device)
        self.environment = described(pool)
        self.measuring = Measuring.of(setup.options, pool, self.environment.key, setup.n_checks)
        self.readings: list[Reading] = []
        self.attempts = Attempts(Probe(setup.options.threads), setup.options.again, None, self.readings.append)


_machines: dict[str, _Machine] = {}


def name() -> str:
    """Of this machine in the cluster."""
    return platform.node()


def where() -> tuple[str, Environment]:
    """Its name, and what moves its figures."""
    return name(), describe_environment()


def measured(setup: Setup, place: Place, found: Outcome) -> Measured:
    """The row of that place, measured on this machine; `found` is of the truth of its case."""
    machine = _machines.get(setup.key)
    if machine is None:
        machine = _machines[setup.key] = _Machine(setup)
    machine.readings.clear()
    record = machine.attempts.measured(partial(machine.measuring.row, place, found))
    return Measured(replace(record, node=name()), machine.environment, tuple(machine.readings))
