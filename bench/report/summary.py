"""From records to answers: replicates become one entry, entries that may be compared become one ranking.

Only entries with status "ok" and kind "exact" are ranked: a time whose kernel is wrong says nothing, and a stochastic
or a limit method computes something else. Those that cannot be told apart share places (`bench.report.ranking`).
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import impls
from bench.records.noise import is_disturbed, longer
from bench.records.record import CaseInfo, Record, Status
from bench.report.ranking import Places, Process, compared, places, usual_variance

BAD: tuple[Status, ...] = ("wrong", "nonfinite", "crash")
"""What a method must answer for."""

WORST_FIRST: tuple[Status, ...] = (*BAD, "undecided", "oom", "timeout", "not_installed", "unsupported", "ok")


@dataclass(frozen=True)
class Group:
    """What is equal for all methods that are compared with each other."""

    info: CaseInfo
    outputs: str
    dtype: str
    device: str
    threads: int
    environment: str
    quantity: str = "ntk"
    """Which kernel."""
    duet: str = ""
    """The two methods that were measured at the same moment (`bench.running.duet`)."""


@dataclass(frozen=True)
class Line:
    """A method with its settings: what is one row of a table and one line of a figure."""

    method: str
    settings: str = ""
    """The block size and the method's own options, "batch_size=8, proj_dim=4096"."""

    @property
    def label(self) -> str:
        return f"{self.method} [{self.settings}]" if self.settings else self.method


@dataclass(frozen=True)
class Entry:
    """One line in one group, over all replicates. Times in seconds, memory in bytes, None where not measured."""

    line: Line
    kind: str
    status: Status
    """The worst of the replicates."""
    reason: str
    n_replicates: int
    n_samples: int
    median_s: float | None
    """Median over replicates of the median of their calls."""
    low_s: float | None
    """Quartiles of all calls of all replicates; None below three calls."""
    high_s: float | None
    setup_s: float | None
    first_call_s: float | None
    peak_bytes: float | None
    kernel_bytes: int | None
    error: float | None
    """The largest of the replicates."""
    tolerance: float | None
    checked_against: str
    stderr: str
    amplification: float | None = None
    remark: str = ""
    turns: dict[int, Process] = field(default_factory=dict)
    """Replicate → the process that was measured in that turn."""
    disturbed: int = 0
    """Replicates that others disturbed."""
    slower: float | None = None
    """Times slower than the fastest of the group; None for what is not ranked."""
    places: Places | None = None
    """Those that it may have in its group; None for what is not ranked."""

    @property
    def rankable(self) -> bool:
        return self.status == "ok" and self.kind == "exact" and self.median_s is not None

    @property
    def first(self) -> bool:
        """Whether no other method is certainly faster."""
        return self.places is not None and self.places.first == 1

    @property
    def spread(self) -> float | None:
        """Half the distance of the quartiles, as a fraction of the median."""
        if self.low_s is None or self.high_s is None or not self.median_s:
            return None
        return (self.high_s - self.low_s) / (2 * self.median_s)


@dataclass(frozen=True)
class Ranking:
    """All entries of a group: the ranked ones by place and time, then other correct ones, then the rest."""

    group: Group
    entries: tuple[Entry, ...]
    usual: float = 0.0
    """What the difference of two methods varies by from turn to turn (`bench.report.ranking.usual_variance`)."""

    @property
    def ranked(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.rankable)

    @property
    def unranked(self) -> tuple[Entry, ...]:
        """Correct, but not to be compared by time: another kind of method."""
        return tuple(entry for entry in self.entries if entry.status == "ok" and not entry.rankable)

    @property
    def failed(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.status != "ok")

    @property
    def fastest(self) -> Entry | None:
        return self.ranked[0] if self.ranked else None

    def told_apart(self, one: Entry, other: Entry) -> bool:
        """Whether one of two ranked entries is certainly faster."""
        return compared(one.turns, other.turns, math.comb(len(self.ranked), 2), self.usual) != 0

    @property
    def leaders(self) -> tuple[Entry, ...]:
        """Those that may be the fastest: more than one where they cannot be told apart."""
        return tuple(entry for entry in self.ranked if entry.first)


@dataclass(frozen=True)
class Total:
    """One line over all groups."""

    line: Line
    kind: str
    statuses: dict[str, int]
    """Number of groups with each status."""
    alone: int
    """Number of groups in which it is certainly the fastest."""
    shared: int
    """Number of groups in which it may be the fastest, and so may another."""
    median_slower: float | None
    """Median of its times slower than the fastest, over the groups in which it is ranked."""


def rankings(records: Iterable[Record]) -> list[Ranking]:
    """One ranking for each group, in a reading order: networks as they come, each by its sizes."""
    groups: dict[Group, dict[Line, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[group_of(record)][line_of(record)].append(record)
    came = {name: place for place, name in enumerate(dict.fromkeys(group.info.network for group in groups))}
    ordered = sorted(groups.items(), key=lambda item: _reading_order(item[0], came))
    found = [(group, [summarize(line, rows) for line, rows in lines.items()]) for group, lines in ordered]
    usual = _usual(found)
    return [rank(group, entries, usual[group.environment]) for group, entries in found]


def rank(group: Group, entries: Iterable[Entry], usual: float = 0.0) -> Ranking:
    """The entries in order, the ranked ones with their `slower` and `places`; `usual` is that of `places`."""
    entries = list(entries)
    best = min((entry.median_s for entry in entries if entry.rankable and entry.median_s is not None), default=None)
    place = places(_times(entries), usual)
    filled = [replace(entry, slower=entry.median_s / best, places=place[entry.line])
              if best and entry.rankable and entry.median_s else entry for entry in entries]
    order = line_order(entry.line for entry in filled)
    filled.sort(key=lambda e: (not e.rankable, e.status != "ok", e.places.first if e.places else 0,
                               (e.median_s or 0.0) if e.status == "ok" else 0.0, order[e.line]))
    return Ranking(group, tuple(filled), usual)


def _times(entries: Iterable[Entry]) -> dict[Line, dict[int, Process]]:
    """Of what is ranked."""
    return {entry.line: entry.turns for entry in entries if entry.rankable}


def _usual(found: Iterable[tuple[Group, list[Entry]]]) -> dict[str, float]:
    """Environment → what two methods' difference varies by there from turn to turn."""
    times: dict[str, list[dict[Line, dict[int, Process]]]] = defaultdict(list)
    for group, entries in found:
        times[group.environment].append(_times(entries))
    return {environment: usual_variance(some) for environment, some in times.items()}


def summarize(line: Line, records: list[Record]) -> Entry:
    """The replicates of one cell as one entry."""
    worst = min(records, key=lambda record: WORST_FIRST.index(record.status))
    share = sum(record.status == worst.status for record in records)
    mixed = f" ({share} of {len(records)} replicates)" if worst.status != "ok" and share < len(records) else ""
    samples = sorted(sample for record in records for sample in record.samples_s)
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) >= 3 else (None, None, None)
    errors = [record.error for record in records if record.error is not None]
    return Entry(
        line=line, kind=worst.kind, status=worst.status, reason=worst.reason + mixed,
        n_replicates=len(records), n_samples=len(samples),
        median_s=_median([statistics.median(record.samples_s) for record in records if record.samples_s]),
        low_s=low, high_s=high,
        setup_s=_median([record.setup_s for record in records]),
        first_call_s=_median([record.first_call_s for record in records]),
        peak_bytes=_median([record.peak_bytes for record in records]),
        kernel_bytes=worst.kernel_bytes, error=max(errors, default=None), tolerance=worst.tolerance,
        checked_against=worst.checked_against, stderr=worst.stderr,
        amplification=worst.amplification, remark=worst.remark,
        turns={record.replicate: Process(statistics.median(record.samples_s), longer(record))
               for record in records if record.samples_s},
        disturbed=sum(map(is_disturbed, records)),
    )


def totals(rankings: Iterable[Ranking]) -> list[Total]:
    """One total for each line, in the order of the registry."""
    entries: dict[Line, list[Entry]] = defaultdict(list)
    alone: Counter[Line] = Counter()
    shared: Counter[Line] = Counter()
    for ranking in rankings:
        for entry in ranking.entries:
            entries[entry.line].append(entry)
        (alone if len(ranking.leaders) == 1 else shared).update(entry.line for entry in ranking.leaders)
    return [Total(line, entries[line][0].kind, dict(Counter(entry.status for entry in entries[line])), alone[line],
                  shared[line], _median([entry.slower for entry in entries[line]]))
            for line in line_order(entries)]


def winners(totals: Iterable[Total]) -> list[str]:
    """In words, those first that are the fastest in the most cells: "x in 5", "y in 1 and perhaps in 3 more"."""
    found = sorted((total for total in totals if total.alone or total.shared),
                   key=lambda total: (-total.alone, -total.shared))
    return [_won(total) for total in found]


def _won(total: Total) -> str:
    if not total.shared:
        return f"{total.line.label} in {total.alone}"
    certain = f"in {total.alone} and " if total.alone else ""
    return f"{total.line.label} {certain}perhaps in {total.shared}{' more' if total.alone else ''}"


def group_of(record: Record) -> Group:
    cell = record.cell
    return Group(record.info, cell.outputs, cell.dtype, cell.device, cell.threads, record.environment,
                 cell.quantity, cell.duet)


def line_of(record: Record) -> Line:
    """The seed is no setting: replicates may differ in it."""
    cell = record.cell
    settings = [] if cell.batch_size is None else [f"batch_size={cell.batch_size}"]
    settings += [f"{key}={json.dumps(value)}" for key, value in sorted(cell.own_options.items())]
    return Line(cell.method, ", ".join(settings))


def line_order(lines: Iterable[Line]) -> dict[Line, int]:
    """Lines to their places: methods in the order of the registry, others behind them by name."""
    registry = impls.names(None)
    place = {name: index for index, name in enumerate(registry)}
    ordered = sorted(set(lines), key=lambda line: (place.get(line.method, len(registry)), line.method, line.settings))
    return {line: index for index, line in enumerate(ordered)}


def _reading_order(group: Group, came: dict[str, int]) -> tuple:
    info = group.info
    sizes = tuple(-1 if size is None else size for size in (info.n_outputs, info.n1, info.n2, info.width))
    return (group.environment, info.data, came[info.network], group.quantity, group.outputs, group.dtype, group.device,
            group.threads, sizes, info.case, group.duet)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
