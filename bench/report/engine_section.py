"""The report's section on the structured engines: each beside its matrix-product bound and the best of its peers."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench import units
from bench.cells.bounds import ENGINES, KIND
from bench.records.record import Record
from bench.report import markup
from bench.report.labels import Labels
from bench.report.markup import element
from bench.report.page import Section
from bench.report.sections import Styles, name_of
from bench.report.summary import Entry, Group, Line, Ranking, group_of

NT = "neural_tangents.structured_derivatives"

_TEXT = (
    "Ratios are medians over turns: each turn measures one process of every method, one after the other, and a "
    "ratio is taken within a turn, so that what disturbs the machine for minutes disturbs both. “× bound” is the "
    "engine's time over that of the matrix products of its plan alone, as plain calls of its framework, in full "
    "(symmetry can bring an engine below 1). “faster” is the best peer's time over the engine's. The best peer is "
    "the fastest one, and its memory is shown; “≈” marks an engine that cannot be told apart from it. A method that "
    "has failed or is far behind in the first turn has no more turns, and its ratio is that of the first."
)

HEADINGS = ("engine", "time", "bound", "× bound", "best peer", "its time", "faster", "than NT structured",
             "first call", "NT's", "peak memory", "best peer's")

T = TypeVar("T")

Turns = dict[int, float]
"""Replicate to the median of its calls, in seconds."""


@dataclass(frozen=True)
class Comparison:
    """One engine in one cell; None where there is nothing to compare with."""

    engine: Entry
    bound_s: float | None
    over_bound: float | None
    peer: Entry | None
    faster: float | None
    faster_than_nt: float | None
    nt: Entry | None
    certain: bool = True
    """Whether the best peer and the engine can be told apart."""


def engines(records: Sequence[Record], rankings: Sequence[Ranking], labels: Labels, styles: Styles) -> list[Section]:
    """One section, or none where no bound was measured."""
    found = [(ranking, each) for ranking in rankings if _has_bound(ranking)
             for each in comparisons(ranking, turns(records))]
    if not found:
        return []
    headings = [*labels.columns, *HEADINGS]
    rows = [[*labels.row(ranking.group), *row(each, lambda line: name_of(line, styles))] for ranking, each in found]
    table = markup.table(headings, rows, {*headings} - {"network", "case", "kernel", "engine", "best peer"})
    return [Section("engines", "The structured engines", markup.join([element("p", _TEXT, class_="soft"), table]))]


def turns(records: Iterable[Record]) -> dict[tuple[Group, str], Turns]:
    """The time of each method in each group, turn by turn; of correct kernels only."""
    found: dict[tuple[Group, str], Turns] = defaultdict(dict)
    for record in records:
        if record.status == "ok" and record.samples_s:
            found[group_of(record), record.cell.method][record.replicate] = statistics.median(record.samples_s)
    return found


def comparisons(ranking: Ranking, times: dict[tuple[Group, str], Turns]) -> list[Comparison]:
    """For each engine that is ranked in the group."""
    by_method = {entry.line.method: entry for entry in ranking.entries}
    peers = [entry for entry in ranking.ranked if entry.line.method not in ENGINES]
    peer = peers[0] if peers else None
    made = []
    for entry in (entry for entry in ranking.ranked if entry.line.method in ENGINES):
        def over(other: str, own: Turns = times[ranking.group, entry.line.method]) -> float | None:
            return ratio(own, times.get((ranking.group, other), {}))

        bound = by_method.get(ENGINES[entry.line.method])
        made.append(Comparison(entry, bound and bound.median_s, over(ENGINES[entry.line.method]), peer,
                               peer and _inverse(over(peer.line.method)), _inverse(over(NT)), by_method.get(NT),
                               peer is None or ranking.told_apart(entry, peer)))
    return made


def _has_bound(ranking: Ranking) -> bool:
    return any(entry.kind == KIND for entry in ranking.entries)


def ratio(own: Turns, other: Turns) -> float | None:
    """The median over the turns that both have."""
    pairs = [own[turn] / other[turn] for turn in own.keys() & other.keys()]
    return statistics.median(pairs) if pairs else None


def _inverse(value: float | None) -> float | None:
    return None if value is None else 1 / value


def _marked(each: Comparison) -> str:
    return f"{'' if each.certain else '≈'}{units.times(each.faster)}"


def row(each: Comparison, name: Callable[[Line], T]) -> list[str | T]:
    """What stands under `HEADINGS`, with each method as `name` has it."""
    engine, peer, nt = each.engine, each.peer, each.nt
    return [name(engine.line), units.seconds(engine.median_s), units.seconds(each.bound_s),
            units.times(each.over_bound), name(peer.line) if peer else units.NONE,
            units.seconds(peer and peer.median_s), _marked(each), units.times(each.faster_than_nt),
            units.seconds(engine.first_call_s), units.seconds(nt and nt.first_call_s), units.memory(engine.peak_bytes),
            units.memory(peer and peer.peak_bytes)]
