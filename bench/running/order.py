"""In which order the places of a run are measured.

Ratios are to be honest on a machine that others disturb. So the methods of a case take turns: one process of each, then
again from the first, and a ratio is taken between two processes of one turn; its median over the turns is what is
reported. (Calls in turn within one process would be finer, but JAX and PyTorch would share threads and caches, and a
process has one peak of memory.) A method that is far behind after the first turn, or has failed, is not called again.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from bench.cells.bounds import ENGINES, KIND
from bench.cells.cases import CaseSource
from bench.cells.engines import CASES
from bench.cells.methods import Listed
from bench.records.record import Cell, Record

FAR_BEHIND = 3.0
"""Times slower than the fastest exact method of the first turn."""


@dataclass(frozen=True)
class Place:
    """One row to be: a cell, where its case comes from, whose method it is, and which replicate."""

    cell: Cell
    source: CaseSource
    method: Listed
    replicate: int

    @property
    def key(self) -> str:
        """What makes two rows the same measurement, but for the environment."""
        return _key(self.cell, self.source.digest, self.method.digest, self.replicate)


def in_turn(places: Iterable[Place]) -> list[Place]:
    """Each case by itself, in it one replicate of every method after the other."""
    order = {source.name: at for at, source in enumerate(CASES)}
    return sorted(places, key=lambda place: (order.get(place.cell.case, len(order)), place.replicate))


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
    fastest = min(statistics.median(record.samples_s) for record in peers if record.status == "ok" and record.samples_s)
    return statistics.median(own[-1].samples_s) <= FAR_BEHIND * fastest


def key_of(record: Record) -> str:
    """The key of the place that a row was measured for."""
    return _key(record.cell, record.info.digest, record.method_digest, record.replicate)


def _key(cell: Cell, digest: str, method_digest: str, replicate: int) -> str:
    return json.dumps([asdict(cell), digest, method_digest, replicate], sort_keys=True)
