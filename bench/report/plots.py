"""The report's sections with figures: error, growth with the width, first calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench import units
from bench.report import figures, markup, tables
from bench.report.choice import Option, Places, choice, table_of
from bench.report.figures import Figure
from bench.report.labels import Labels
from bench.report.markup import Markup, element
from bench.report.page import Section, figure
from bench.report.scaling import Facet, Fit, Series, facets
from bench.report.sections import Styles, name_of
from bench.report.summary import Line, Ranking, line_order

_ERROR = (
    "One mark a cell: the largest error of its kernel, relative to the kernel's own scale. The bar is the tolerance of "
    "the method's kind and dtype; a mark to its right is wrong. An error of exactly 0 is drawn at 1e-18. What a limit "
    "method shows is its distance from the finite network's kernel, and a stochastic one the noise of its estimate: no "
    "mistakes."
)
_FIRST = (
    "One mark a cell. On the dotted line the first call costs what every later one costs; the height above it is "
    "tracing, compiling and warming up."
)


class Drawings(dict[str, Figure]):
    """The figures of the page by key, collected as their places are made."""

    def place(self, drawn: Figure, label: str) -> Markup:
        """Keep the figure and give its place on the page."""
        key = f"figure-{len(self)}"
        self[key] = drawn
        return figure(key, drawn["layout"]["height"], label)


def legend(rankings: Sequence[Ranking], styles: Styles) -> Markup:
    """All lines; each button hides and shows its line in every figure."""
    kinds = {entry.line: entry.kind for ranking in rankings for entry in ranking.entries}
    buttons = [element("button", name_of(line, styles, kinds[line] == "exact"), type="button", data_line=line.label,
                       aria_pressed="true") for line in line_order(kinds)]
    return element("div", *buttons, element("button", "show all", type="button"), class_="legend")


def error_section(rankings: Sequence[Ranking], labels: Labels, styles: Styles, drawings: Drawings) -> Section:
    """A figure for each dtype, one shown at a time."""
    places, options = Places(rankings), []
    for dtype in sorted({ranking.group.dtype for ranking in rankings}):
        own = [ranking for ranking in rankings if ranking.group.dtype == dtype]
        drawn = figures.errors(own, dtype, styles, lambda ranking: labels.name(ranking.group))
        if drawn["data"]:
            body = [drawings.place(drawn, f"Error of every cell in {dtype}"),
                    table_of(f"errors in {dtype}", tables.errors(own, styles))]
            options.append(Option(dtype, markup.join(body), places.where(ranking.group for ranking in own)))
    return Section("error", "Error", markup.join([element("p", _ERROR, class_="soft"), choice("dtype", options)]))


def scaling_section(rankings: Sequence[Ranking], styles: Styles, drawings: Drawings) -> Section:
    """A facet for each batch, number of outputs and so on, one shown at a time: time, memory, and exponents."""
    shown = [facet for facet in facets(rankings) if facet.series]
    labels, places = Labels([facet.group for facet in shown]), Places(rankings)
    parts = [Option(labels.name(facet.group), _facet(facet, labels, styles, drawings), places.where(facet.members))
             for facet in shown]
    text = element("p", "Correct kernels only. Both axes are logarithmic; hollow marks with dotted lines are methods "
                   "that are not exact. Exponents are given from three widths on.", class_="soft")
    empty = element("p", "No cell has a correct kernel with a time.")
    return Section("scaling", "Time and memory against width",
                   markup.join([text, legend(rankings, styles), choice("Cells", parts)] if parts else [empty]))


def _facet(facet: Facet, labels: Labels, styles: Styles, drawings: Drawings) -> Markup:
    name = labels.name(facet.group)
    charts = [drawings.place(figures.against_width(facet, quantity, styles), f"{quantity.title}, {name}")
              for quantity in (figures.TIME, figures.MEMORY)]
    one_width = len(facet.widths) < 2
    beside = [] if one_width else [_exponents(facet, styles)]
    numbers = table_of(f"time and memory, {name}", tables.against_width(facet, styles))
    return element("div", *charts, *beside, numbers, _missing(facet), class_="facet flat" if one_width else "facet")


def _exponents(facet: Facet, styles: Styles) -> Markup:
    rows = [[name_of(series.line, styles, series.kind == "exact"), _exponent(series.time), _exponent(series.memory)]
            for series in facet.series]
    widths = sorted({fit for series in facet.series for fit in (_range(series),) if fit})
    text = f"Exponents of the width, fitted to {'; '.join(widths)}." if widths else _too_few(facet)
    return element("div", markup.table(["method", "time", "memory"], rows, ["time", "memory"]),
                   element("p", text, class_="soft"))


def _exponent(fit: Fit | None) -> str:
    return units.NONE if fit is None else f"{round(fit.exponent, 2) + 0.0:.2f}".replace("-", "−")  # no "−0.00"


def _range(series: Series) -> str | None:
    fit = series.time or series.memory
    return None if fit is None else f"{fit.n_widths} widths, {fit.low}–{fit.high}"


def _too_few(facet: Facet) -> str:
    return f"No exponents: {len(facet.widths)} width{'' if len(facet.widths) == 1 else 's'}, and a fit needs three."


def _missing(facet: Facet) -> Markup:
    """What the figure cannot show, in words."""
    counts = Counter((line, status) for line, _, status in facet.missing)
    if not counts:
        return Markup("")
    words = []
    for line, status in counts:
        widths = [str(width) for other, width, its in facet.missing if (other, its) == (line, status) and width]
        words.append(_absence(line, status, widths if len(facet.widths) > 1 else []))
    return element("p", f"Not shown: {'; '.join(words)}.", class_="soft")


def _absence(line: Line, status: str, widths: list[str]) -> str:
    where = f" at width {', '.join(widths)}" if widths else ""
    return f"{line.label}{where} ({status.replace('_', ' ')})"


def first_call_section(rankings: Sequence[Ranking], labels: Labels, styles: Styles, drawings: Drawings) -> Section:
    drawn = figures.first_calls(rankings, styles, lambda ranking: labels.name(ranking.group))
    if not drawn["data"]:
        return Section("first", "First call", element("p", "No cell has both a first and a later call."))
    text = element("p", _FIRST, class_="soft")
    return Section("first", "First call", markup.join(
        [text, drawings.place(drawn, "First call over later calls"),
         table_of("first calls", tables.first_calls(rankings, styles))]))
