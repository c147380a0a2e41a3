"""How time and memory grow with the width: series, and straight lines through them on log–log axes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.report.summary import Entry, Group, Line, Ranking, line_order

MIN_WIDTHS = 3
"""Through two points a line always fits: an exponent needs three widths."""


@dataclass(frozen=True)
class Fit:
    """y ∝ width^exponent, by least squares of log y on log width; it describes only the widths it was fitted to."""

    exponent: float
    n_widths: int
    low: int
    high: int


@dataclass(frozen=True)
class Series:
    """One line in one facet: its correct entries by width."""

    line: Line
    kind: str
    widths: tuple[int | None, ...]
    entries: tuple[Entry, ...]

    @property
    def time(self) -> Fit | None:
        return fit(self.widths, [entry.median_s for entry in self.entries])

    @property
    def memory(self) -> Fit | None:
        return fit(self.widths, [entry.peak_bytes for entry in self.entries])


@dataclass(frozen=True)
class Facet:
    """Everything that differs in nothing but the width and the method."""

    group: Group
    """Without case and width, unless the facet holds one group only."""
    series: tuple[Series, ...]
    missing: tuple[tuple[Line, int | None, str], ...]
    """(line, width, status) of what has no place in the figure."""
    members: tuple[Group, ...] = ()
    """The groups that it holds."""

    @property
    def widths(self) -> list[int]:
        return sorted({width for series in self.series for width in series.widths if width is not None})


def fit(widths: Sequence[int | None], values: Sequence[float | None]) -> Fit | None:
    """The exponent, or None where fewer than three widths have a positive value."""
    points = [(width, value) for width, value in zip(widths, values, strict=True) if width and value and value > 0]
    distinct = {width for width, _ in points}
    if len(distinct) < MIN_WIDTHS:
        return None
    slope = np.polyfit([math.log(width) for width, _ in points], [math.log(value) for _, value in points], 1)[0]
    return Fit(float(slope), len(distinct), min(distinct), max(distinct))


def facets(rankings: Iterable[Ranking]) -> list[Facet]:
    """One facet for each batch, number of outputs and so on, in the order of the rankings.

    Cases of equal width differ in something else than the width, so each of them is a facet of its own.
    """
    grouped: dict[Group, list[Ranking]] = defaultdict(list)
    for ranking in rankings:
        grouped[_common(ranking.group)].append(ranking)
    found = []
    for group, members in grouped.items():
        one_line = len(members) > 1 and len({member.group.info.width for member in members}) == len(members)
        found += [_facet(group, members)] if one_line else [_facet(member.group, [member]) for member in members]
    return found


def _facet(group: Group, rankings: list[Ranking]) -> Facet:
    found: dict[Line, list[tuple[int | None, Entry]]] = defaultdict(list)
    missing = []
    for ranking in rankings:
        for entry in ranking.entries:
            if entry.status == "ok" and entry.median_s is not None:
                found[entry.line].append((ranking.group.info.width, entry))
            else:
                missing.append((entry.line, ranking.group.info.width, entry.status))
    series = tuple(_series(line, found[line]) for line in line_order(found))
    return Facet(group, series, tuple(missing), tuple(ranking.group for ranking in rankings))


def _series(line: Line, points: list[tuple[int | None, Entry]]) -> Series:
    points = sorted(points, key=lambda point: point[0] or 0)
    return Series(line, points[0][1].kind, tuple(width for width, _ in points), tuple(entry for _, entry in points))


def _common(group: Group) -> Group:
    return replace(group, info=replace(group.info, case="", width=None, n_params=None))
