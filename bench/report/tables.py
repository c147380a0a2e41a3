"""The figures as tables: what each of them shows, in numbers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench import units
from bench.report import markup
from bench.report.markup import Markup
from bench.report.scaling import Facet, Series
from bench.report.sections import Styles, name_of
from bench.report.summary import Entry, Line, Ranking, line_order


def errors(rankings: Sequence[Ranking], styles: Styles) -> Markup:
    """Each method over the cells in which its error is known."""
    found: dict[Line, list[Entry]] = {}
    for ranking in rankings:
        for entry in ranking.entries:
            if entry.error is not None:
                found.setdefault(entry.line, []).append(entry)
    headings = ["method", "error, median", "largest", "largest tolerance", "cells"]
    rows = []
    for line in line_order(found):
        values = [entry.error for entry in found[line] if entry.error is not None]
        allowed = max((entry.tolerance for entry in found[line] if entry.tolerance is not None), default=None)
        rows.append([name_of(line, styles, found[line][0].kind == "exact"), units.error(statistics.median(values)),
                     units.error(max(values)), units.error(allowed), str(len(values))])
    return markup.table(headings, rows, headings[1:])


def against_width(facet: Facet, styles: Styles) -> Markup:
    """Time and peak memory of each method at each width."""
    widths = facet.widths
    at = [f" at {width}" for width in widths] if len(widths) > 1 else [""]
    headings = ["method", *(f"time{each}" for each in at), *(f"memory{each}" for each in at)]
    rows = [[name_of(series.line, styles, series.kind == "exact"),
             *(units.seconds(entry and entry.median_s) for entry in _by_width(series, widths)),
             *(units.memory(entry and entry.peak_bytes) for entry in _by_width(series, widths))]
            for series in facet.series]
    return markup.table(headings, rows, headings[1:])


def _by_width(series: Series, widths: Sequence[int]) -> list[Entry | None]:
    if len(widths) < 2:
        return [series.entries[0]]
    known = dict(zip(series.widths, series.entries, strict=True))
    return [known.get(width) for width in widths]


def first_calls(rankings: Sequence[Ranking], styles: Styles) -> Markup:
    """What the first call costs beyond a later one, over the cells of each method."""
    extra: dict[Line, list[float]] = {}
    kinds = {}
    for ranking in rankings:
        for entry in ranking.entries:
            if entry.status == "ok" and entry.first_call_s is not None and entry.median_s is not None:
                extra.setdefault(entry.line, []).append(entry.first_call_s - entry.median_s)
                kinds[entry.line] = entry.kind
    rows = [[name_of(line, styles, kinds[line] == "exact"), units.seconds(max(0.0, statistics.median(extra[line]))),
             units.seconds(max(0.0, max(extra[line]))), str(len(extra[line]))] for line in line_order(extra)]
    headings = ["method", "extra time of the first call, median", "largest", "cells"]
    return markup.table(headings, rows, headings[1:])
