"""The report's overview: every method in every cell, and the reasons for what is not ok."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench import units
from bench.records.record import Status
from bench.report import markup
from bench.report.choice import Places
from bench.report.labels import Labels
from bench.report.markup import Markup, element
from bench.report.page import Section, swatch
from bench.report.sections import Styles, name_of, status
from bench.report.summary import WORST_FIRST, Entry, Line, Ranking, line_order

_Reason = tuple[Line, Status, str]
"""(line, status, reason)"""

_LISTED = 3
"""Cells that are named beside a reason; more are folded away."""

_TEXT = (
    "Times slower than the fastest correct method of the cell (bold, with all that cannot be told apart from it), or "
    "the status; a status leads to its reason. A correct kernel of a method that is not ranked reads “ok”."
)


def matrix(rankings: Sequence[Ranking], labels: Labels, styles: Styles) -> Section:
    """Every cell with its status; what is not ok leads to its reason below."""
    lines = list(line_order(entry.line for ranking in rankings for entry in ranking.entries))
    kinds = {entry.line: entry.kind for ranking in rankings for entry in ranking.entries}
    reasons = _reasons(rankings)
    anchors = {reason: f"reason-{index}" for index, reason in enumerate(reasons)}
    names = [element("span", swatch(styles[line.method], kinds[line] == "exact"), line.label) for line in lines]
    head = element("tr", element("th", "cell", scope="col"),
                   *(element("th", name, scope="col", class_="turn") for name in names))
    rows, places = [], Places(rankings)
    for ranking in rankings:
        by_line = {entry.line: entry for entry in ranking.entries}
        rows.append(element("tr", element("th", labels.name(ranking.group), scope="row"),
                            *(_matrix_cell(by_line.get(line), anchors) for line in lines),
                            data_cells=places.of(ranking.group)))
    grid = element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll matrix",
                   tabindex="0")
    return Section("status", "Status of every cell", markup.join(
        [element("p", _TEXT, class_="soft"), grid, _reason_table(reasons, labels, styles, anchors, places)]))


def _matrix_cell(entry: Entry | None, anchors: dict[_Reason, str]) -> Markup:
    if entry is None:
        return element("td", units.NONE, title="no record")
    classes = f"status-{entry.status}"
    if entry.status == "ok":
        return element("td", units.times(entry.slower) if entry.slower else "ok",
                       class_="best" if entry.first else classes)
    link = element("a", entry.status.replace("_", " "), href=f"#{anchors[_reason_of(entry)]}", title=entry.reason)
    return element("td", link, class_=classes)


def _reasons(rankings: Sequence[Ranking]) -> dict[_Reason, list[Ranking]]:
    found: dict[_Reason, list[Ranking]] = defaultdict(list)
    for ranking in rankings:
        for entry in ranking.failed:
            found[_reason_of(entry)].append(ranking)
    place = line_order(line for line, _, _ in found)
    order = sorted(found, key=lambda reason: (WORST_FIRST.index(reason[1]), place[reason[0]]))
    return {reason: found[reason] for reason in order}


def _reason_of(entry: Entry) -> _Reason:
    return entry.line, entry.status, entry.reason


def _reason_table(reasons: dict[_Reason, list[Ranking]], labels: Labels, styles: Styles,
                  anchors: dict[_Reason, str], places: Places) -> Markup:
    if not reasons:
        return element("p", "Every cell is ok.", id="reasons")
    rows = [markup.table_row(_reason_row(reason, where, labels, styles), {2}, id=anchors[reason],
                             data_cells=places.of(*(ranking.group for ranking in where)))
            for reason, where in reasons.items()]
    return markup.join([element("h3", "Reasons", id="reasons"),
                        markup.table(["status", "method", "cells", "reason", "which"], rows, ["cells"],
                                     class_="reasons")])


def _reason_row(reason: _Reason, where: list[Ranking], labels: Labels, styles: Styles) -> list[Any]:
    line, value, text = reason
    which: Markup | str = "; ".join(labels.name(ranking.group) for ranking in where)
    if len(where) > _LISTED:
        which = element("details", element("summary", f"{len(where)} cells"), which)
    return [status(value), name_of(line, styles), str(len(where)),
            element("td", text, _stderr(reason, where[0]), class_="reason"), element("td", which, class_="reason")]


def _stderr(reason: _Reason, ranking: Ranking) -> Markup:
    """What the first process with this reason wrote before it ended; not of unsupported ones, which start none."""
    text = next(entry.stderr for entry in ranking.failed if _reason_of(entry) == reason)
    if not text.strip():
        return Markup("")
    return element("details", element("summary", "standard error"), element("pre", text.strip()))
