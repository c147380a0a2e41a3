"""What is one layout for many cases is shown once, with a choice; and the finder, which makes the choice everywhere.

Without scripts, and on paper, everything is there, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.report import markup
from bench.report.labels import Labels
from bench.report.markup import Markup, element
from bench.report.summary import Group, Ranking

FEWEST = 2
"""Values of an axis from which on there is something to choose."""
SEPARATOR = " "


@dataclass(frozen=True)
class Option:
    """One of a choice, about these cells (places in the list of rankings); None where it is about no cells."""

    name: str
    body: Markup
    cells: Sequence[int] | None = None


class Places:
    """The place of each group in the list of rankings, by which the finder knows what is about it."""

    def __init__(self, rankings: Sequence[Ranking]) -> None:
        self._places = {ranking.group: place for place, ranking in enumerate(rankings)}

    def of(self, *groups: Group) -> str:
        """The value of the attribute `data_cells` of what is about these groups."""
        return SEPARATOR.join(str(self._places[group]) for group in groups)

    def where(self, groups: Iterable[Group]) -> list[int]:
        return [self._places[group] for group in groups]


def choice(label: str, options: Sequence[Option]) -> Markup:
    """The first of the options, and a list to choose another; a single one stands by itself."""
    if len(options) < FEWEST:
        return markup.join(option.body for option in options)
    entries = [element("option", option.name, value=place, data_cells=_cells(option))
               for place, option in enumerate(options)]
    bodies = [element("div", element("h3", option.name), option.body, class_="option") for option in options]
    return element("div", element("label", f"{label} ", element("select", *entries), class_="choose"), *bodies,
                   class_="choice")


def finder(rankings: Sequence[Ranking], labels: Labels) -> Markup:
    """A list for each axis on which cells differ; what is chosen there is chosen in every section of the page."""
    rows = [labels.row(ranking.group) for ranking in rankings]
    if len(rows) < FEWEST:
        return Markup("")
    lists = [element("label", f"{heading} ", _axis(heading, [row[column] for row in rows]))
             for column, heading in enumerate(labels.columns)]
    count = element("output", f"{len(rows)} cells")
    return element("form", element("strong", "My network"), *lists, count,
                   element("button", "show all", type="reset"), id="finder", hidden="", data_rows=json.dumps(rows))


def _axis(heading: str, values: Sequence[str]) -> Markup:
    options = (element("option", value, value=value) for value in dict.fromkeys(values))
    return element("select", element("option", "any", value=""), *options, name=heading)


def _cells(option: Option) -> str | None:
    return None if option.cells is None else SEPARATOR.join(map(str, option.cells))


def table_of(name: str, table: Markup) -> Markup:
    """The table of a figure, folded away under it."""
    return element("details", element("summary", f"The figure as a table: {name}"), table, class_="as-table")
