"""The report's answers in words and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import units
from bench.report import markup
from bench.report.choice import Places
from bench.report.labels import Labels
from bench.report.markup import Markup, element
from bench.report.page import Section, swatch
from bench.report.palette import Style
from bench.report.summary import BAD, WORST_FIRST, Entry, Line, Ranking, Total

Styles = dict[str, Style]

_METHODS = (
    "Number of cells with each status; “fastest in” is the number of cells in which the method is certainly the "
    "fastest, + those in which it may be and cannot be told apart from others; “median slower” its time over the "
    "fastest one's, in the middle of the cells in which it is ranked. Stochastic methods estimate the kernel, limit "
    "methods compute another one, and a bound computes the products of a kernel alone: they are shown, hollow in the "
    "figures, but not ranked."
)


def name_of(line: Line, styles: Styles, exact: bool = True) -> Markup:
    """A method's marker and label."""
    # A narrow table may break the name behind the library's.
    label = markup.join(line.label.split("."), markup.join([".", element("wbr")]))
    return element("span", swatch(styles[line.method], exact), label, class_="method")


def answers(rankings: Sequence[Ranking], labels: Labels, styles: Styles) -> Section:
    """The fastest correct method of each cell, with the next one."""
    headings = [*labels.columns, "fastest correct method", "time", "peak memory", "error", "next", "slower"]
    rows, places = [], Places(rankings)
    for ranking in rankings:
        sizes = labels.row(ranking.group)
        best = ranking.fastest
        if best is None:
            rows.append([*sizes, element("span", "none", class_="soft"), "", "", "", "", ""])
            continue
        following = next((entry for entry in ranking.ranked if not entry.first), None)
        rows.append([*sizes, _leaders(ranking, styles), _time(best), units.memory(best.peak_bytes),
                     units.error(best.error), name_of(following.line, styles) if following else units.NONE,
                     units.times(following.slower) if following else ""])
    text = element("p", "Methods that cannot be told apart are all named, the quickest one first, whose figures are "
                   "shown; “next” is certainly slower.", class_="soft")
    numeric = ("N", "O", "width", "threads", "time", "peak memory", "error", "slower")
    right = {index for index, heading in enumerate(headings) if heading in numeric}
    rows = [markup.table_row(row, right, data_cells=places.of(ranking.group))
            for row, ranking in zip(rows, rankings, strict=True)]
    return Section("answer", "Which method to use", markup.join([markup.table(headings, rows, numeric), text]))


def _leaders(ranking: Ranking, styles: Styles) -> Markup:
    """The quickest one; beyond one more, the others are folded away."""
    first, *others = [name_of(entry.line, styles) for entry in ranking.leaders]
    if len(others) < 2:
        return markup.join([first, *others], " or ")
    return markup.join([first, element("details", element("summary", f"or {len(others)} others"),
                                       markup.join(others, element("br")))])


def _time(entry: Entry) -> Markup | str:
    """With a sign where other work on the machine has disturbed it."""
    text = units.seconds(entry.median_s)
    if not entry.disturbed:
        return text
    told = f"disturbed by other work on the machine in {entry.disturbed} of {entry.n_replicates} processes"
    return element("span", f"{text}*", title=told)


def methods(totals: Sequence[Total], styles: Styles) -> Section:
    """Each method over all cells."""
    shown = [status for status in reversed(WORST_FIRST) if any(total.statuses.get(status) for total in totals)]
    headings = ["method", "kind", *(status.replace("_", " ") for status in shown), "fastest in", "median slower"]
    rows = [[name_of(total.line, styles, total.kind == "exact"), total.kind,
             *(str(total.statuses.get(status, "")) for status in shown),
             _won(total) if total.kind == "exact" else units.NONE, units.times(total.median_slower)]
            for total in totals]
    text = element("p", _METHODS, class_="soft")
    return Section("methods", "The methods", markup.join([markup.table(headings, rows, headings[2:]), text]))


def _won(total: Total) -> str:
    return f"{total.alone} + {total.shared}" if total.shared else str(total.alone)


def status(value: str) -> Markup:
    """A status as a tinted word."""
    return element("span", value.replace("_", " "), class_=f"status status-{value}")


def cells(rankings: Sequence[Ranking], labels: Labels, styles: Styles) -> Section:
    """Everything, one row a cell."""
    numbers = ["N", "O", "width", "threads", "place", "time", "spread", "slower", "peak memory", "error", "tolerance",
               "first call", "set-up", "kernel size", "calls / replicates"]
    headings: list[Any] = [*labels.columns, "method", "status", *numbers[4:], "checked against", "reason and remark"]
    right, places = {index for index, heading in enumerate(headings) if heading in numbers}, Places(rankings)
    rows = [markup.table_row([*labels.row(ranking.group), *_cell_row(entry, styles)], right,
                             class_="first" if place == 0 else None, data_cells=places.of(ranking.group))
            for ranking in rankings for place, entry in enumerate(ranking.entries)]
    box = element("input", id="filter", type="search", placeholder="Filter rows, e.g. mlp equinox timeout",
                  aria_label="Filter the rows of the table")
    return Section("cells", "All cells", markup.join([box, markup.table(headings, rows, [])]))


def _cell_row(entry: Entry, styles: Styles) -> list[Any]:
    trusted = entry.status not in (*BAD, "undecided")
    return [name_of(entry.line, styles, entry.kind == "exact"), status(entry.status),
            str(entry.places or units.NONE), _time(entry) if trusted else units.NONE,
            units.percent(entry.spread) if trusted else "", units.times(entry.slower), units.memory(entry.peak_bytes),
            units.error(entry.error), _tolerance(entry), units.seconds(entry.first_call_s),
            units.seconds(entry.setup_s), units.memory(entry.kernel_bytes), _calls(entry),
            element("td", entry.checked_against, class_="tight"),
            element("td", "; ".join(filter(None, (entry.reason, entry.remark))), class_="reason")]


def _tolerance(entry: Entry) -> Markup | str:
    """With what the network does to rounding in its tooltip."""
    text = units.error(entry.tolerance)
    if entry.amplification is None:
        return text
    return element("td", text, class_="num", title=f"rounding is amplified {entry.amplification:.2g} times")


def _calls(entry: Entry) -> str:
    return f"{entry.n_samples} / {entry.n_replicates}" if entry.n_samples else units.NONE
