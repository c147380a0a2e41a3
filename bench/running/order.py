"""In which order the places of a run are measured.

Ratios are to be honest on a machine that others disturb. So the methods that compete, those of one case, kind of output
and dtype, take turns: one process of each, then again one of each, and a ratio is taken between two processes of one
turn; its median over the turns is what is reported. A row's `replicate` is its turn: rows that differ in the method
alone and have one `replicate` were measured one soon after the other, and are a pair.

The order within a turn is drawn, and the next turn goes through it backwards (A B C, C B A, then another one): what
drifts over two turns weighs on all alike, and nobody is always measured behind the same other one. The draw is by the
run's seed, so that a run which goes on keeps its order. (Calls in turn within one process would be finer, but JAX and
PyTorch would share threads and caches, and a process has one peak of memory.)

Where only contenders are measured again, a method that is far behind after the first turn, or has failed, is not called
a second time.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from bench.cells.bounds import ENGINES, KIND
from bench.cells.cases import CaseSource
from bench.cells.methods import Listed
from bench.records.record import Cell, Record
from reference import seed_of

FAR_BEHIND = 3.0
"""Times slower than the fastest exact method of the first turn."""


@dataclass(frozen=True)
class Place:
    """One row to be: a cell, where its case comes from, whose method it is, and which replicate."""

    cell: Cell
    source: CaseSource
    method: Listed
    replicate: int
    """Its turn."""
    position: int = 0
    """In the order of the run, from 0."""

    @property
    def key(self) -> str:
        """What makes two rows the same measurement, but for the environment."""
        return _key(self.cell, self.source.digest, self.method.digest, self.replicate)


def in_order(places: Iterable[Place], seed: int) -> list[Place]:
    """Each case by itself, in it each competition, in that its turns; numbered."""
    competitions: dict[str, dict[tuple[str, str, str], list[Place]]] = {}
    for place in places:
        among = competitions.setdefault(place.cell.case, {})
        among.setdefault((place.cell.case, place.cell.outputs, place.cell.dtype), []).append(place)
    ordered = [place for of_case in competitions.values() for among in of_case.values()
               for place in _turns(among, seed)]
    return [replace(place, position=position) for position, place in enumerate(ordered)]


def _turns(places: Sequence[Place], seed: int) -> list[Place]:
    """Two turns that mirror each other, then two in another order, …"""
    first = places[0].cell
    rng = np.random.default_rng(seed_of(f"{seed} {first.case} {first.outputs} {first.dtype}"))
    drawn: list[str] = []
    ordered: list[Place] = []
    for turn in sorted({place.replicate for place in places}):
        of_turn = {place.cell.method: place for place in places if place.replicate == turn}
        drawn = [*reversed(drawn)] if turn % 2 else [str(name) for name in rng.permutation(sorted(of_turn))]
        ordered += [of_turn[name] for name in drawn]
    return ordered


def contends(cell: Cell, records: Sequence[Record]) -> bool:
    """Whether a method is measured again after its first turn."""
    def first_turn(record: Record) -> bool:
        other = record.cell
        return record.replicate == 0 and (other.case, other.outputs, other.dtype, other.device, other.threads) == (
            cell.case, cell.outputs, cell.dtype, cell.device, cell.threads)

    first = [record for record in records if first_turn(record)]
    own = [record for record in first if record.cell == cell]
    if not own or own[-1].status != "ok" or not own[-1].samples_s:
        return False
    if cell.method in ENGINES or own[-1].kind == KIND:
        return True
    peers = [record for record in first if record.cell.method not in ENGINES and record.kind == "exact"]
    fastest = min((statistics.median(record.samples_s) for record in peers
                   if record.status == "ok" and record.samples_s), default=math.inf)
    return statistics.median(own[-1].samples_s) <= FAR_BEHIND * fastest


def key_of(record: Record) -> str:
    """The key of the place that a row was measured for."""
    return _key(record.cell, record.info.digest, record.method_digest, record.replicate)


def _key(cell: Cell, digest: str, method_digest: str, replicate: int) -> str:
    return json.dumps([asdict(cell), digest, method_digest, replicate], sort_keys=True)
