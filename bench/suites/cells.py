"""Which cells the suites measure, and what one of them is once it is set up: shared by both suites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

import impls
from bench.cells.cases import CaseSource
from bench.cells.data import digits
from bench.cells.options import Options
from bench.cells.profiles import PROFILES, cases_of
from bench.machine.threads import pin
from bench.records.record import Cell
from bench.running.measure import request_of
from bench.truth.truth import Truth, find_truth
from impls.frameworks.arrays import block_until_ready, to_numpy
from impls.frameworks.faces import face

THREADS = 1

# The part of the quick profile that a commit is judged by: each cell runs many times, so the largest network is out.
PROFILE = replace(PROFILES["quick"], widths=(64, 256), channels=(), n_outputs=(10,), batch=(8,))


class Skip(Exception):
    """Why a cell is not measured."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A cell whose first call is done."""

    cell: Cell
    source: CaseSource
    kind: str
    compute: Callable[[], impls.Array]

    def kernel(self) -> np.ndarray:
        """Compute the kernel anew and wait for it."""
        return to_numpy(self.compute())

    @property
    def truth(self) -> Truth:
        return find_truth(_unheard, self.source)

    def call(self) -> None:
        """What is timed: one kernel, up to its last entry."""
        block_until_ready(self.compute())


@cache
def sources() -> dict[int, CaseSource]:
    """The cases of the suites by the width of their network."""
    cases = cases_of(PROFILE, digits())
    return dict(zip(PROFILE.widths, cases, strict=True))


def prepare(method_name: str, width: int) -> Prepared:
    """Set the cell up and call it once, so that what is timed later is the steady state.

    Raises `Skip`, with a reason, for a cell that is not to be measured.
    """
    pin(THREADS)
    try:
        method = impls.load(method_name)
    except impls.MethodNotInstalled as error:
        raise Skip(str(error)) from error
    source = sources()[width]
    own = {"proj_dim": Options.proj_dim} if method.kind == "stochastic" else {}
    cell = Cell(method_name, source.name, threads=THREADS, options=own)
    case, request = source.build(), request_of(cell)
    if reason := impls.unsupported(method, case, request):
        raise Skip(reason)
    of_framework = face(method.framework)
    of_framework.wake(cell.device)
    of_framework.set_threads(THREADS)
    prepared = Prepared(cell, source, method.kind, method.prepare(case, request))
    prepared.call()
    return prepared


def _unheard(phase: str, measured: dict[str, Any]) -> None:
    """Progress of the truth: nobody waits for it here."""
