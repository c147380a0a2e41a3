"""The report's figures, as plain dictionaries in plotly's own schema (traces and layout).

Plotly reads a little HTML in its texts, so every text from outside is escaped.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench import units
from bench.report.palette import Style
from bench.report.scaling import Facet, Series
from bench.report.summary import Entry, Line, Ranking

Figure = dict[str, Any]
Styles = dict[str, Style]

_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif", "size": 14,
         "color": "#1b1f24"}
_GRID = "#e3e6ea"
_CLEAR = "rgba(0,0,0,0)"
_ZERO_ERROR = 1e-18
"""Where an error of exactly 0 is drawn: a log axis has no place for it."""

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Quantity:
    """Time or memory: how to read it from an entry, how to write it, and where an axis has its ticks."""

    title: str
    of: Callable[[Entry], float | None]
    write: Callable[[float | None], str]
    ticks: Callable[[float, float, int], list[float]]


TIME = Quantity("time of one call", lambda entry: entry.median_s, units.seconds, units.time_ticks)
MEMORY = Quantity("peak memory", lambda entry: entry.peak_bytes, units.memory, units.memory_ticks)
FIRST = Quantity("first call", lambda entry: entry.first_call_s, units.seconds, units.time_ticks)


def against_width(facet: Facet, quantity: Quantity, styles: Styles) -> Figure:
    """Log–log against width; with a single width, or none, one mark for each method instead."""
    return _lines(facet, quantity, styles) if len(facet.widths) > 1 else _marks(facet, quantity, styles)


def _lines(facet: Facet, quantity: Quantity, styles: Styles) -> Figure:
    traces = []
    for series in facet.series:
        points = [(width, entry) for width, entry in zip(series.widths, series.entries, strict=True)
                  if width is not None and _positive(quantity.of(entry))]
        traces.append(_trace(series.line, series.kind, styles, [width for width, _ in points],
                             [quantity.of(entry) for _, entry in points],
                             [f"width {width}: {_hover(quantity, entry)}" for width, entry in points],
                             mode="lines+markers", dash=_dash(series, facet)))
    layout = _layout(quantity.title, height=410)
    layout["xaxis"] |= _log_axis(facet.widths, lambda tick: f"{tick:.0f}", pad=0.08, title="width")
    layout["yaxis"] |= _quantity_axis(quantity, traces, "y")
    return {"data": traces, "layout": layout}


def _marks(facet: Facet, quantity: Quantity, styles: Styles) -> Figure:
    shown = [(series, entry) for series in facet.series for entry in series.entries if _positive(quantity.of(entry))]
    shown.sort(key=lambda pair: -(quantity.of(pair[1]) or 0))
    traces = [_trace(series.line, series.kind, styles, [quantity.of(entry)], [_short(series.line)],
                     [_hover(quantity, entry)], mode="markers+text", text=quantity.write(quantity.of(entry)))
              for series, entry in shown]
    layout = _layout(quantity.title, height=_height(series.line for series, _ in shown))
    layout["xaxis"] |= _quantity_axis(quantity, traces, "x", most=4)
    layout["margin"]["r"] = 76  # the texts stand at the right of their marks
    layout["yaxis"] |= {"type": "category", "automargin": True}
    return {"data": traces, "layout": layout}


def errors(rankings: Iterable[Ranking], dtype: str, styles: Styles, names: Callable[[Ranking], str]) -> Figure:
    """One row a method, one mark a cell, on a log axis; a bar marks each tolerance."""
    traces: dict[Line, Figure] = {}
    bounds: set[tuple[Line, float]] = set()
    for ranking in rankings:
        for entry in ranking.entries:
            if ranking.group.dtype != dtype or entry.error is None:
                continue
            trace = traces.setdefault(entry.line, _trace(entry.line, entry.kind, styles, [], [], [], mode="markers"))
            trace["x"].append(max(entry.error, _ZERO_ERROR))
            trace["y"].append(_short(entry.line))
            trace["customdata"].append(html.escape(f"{names(ranking)}: error {units.error(entry.error)}"))
            if entry.tolerance:
                bounds.add((entry.line, entry.tolerance))
    ordered = [traces[line] for line in sorted(traces, key=lambda line: -styles[line.method].index)]
    drawn = [*ordered, _tolerances(bounds)]
    layout = _layout("error, and tolerance ▏", height=_height(traces))
    layout["xaxis"] |= _error_axis([value for trace in drawn for value in trace["x"]])
    layout["yaxis"] |= {"type": "category", "automargin": True}
    return {"data": drawn, "layout": layout}


def first_calls(rankings: Iterable[Ranking], styles: Styles, names: Callable[[Ranking], str]) -> Figure:
    """Every cell: its first call over its steady state, both in seconds, with the line on which they are equal."""
    traces: dict[Line, Figure] = {}
    for ranking in rankings:
        for entry in ranking.entries:
            if entry.status != "ok" or not _positive(entry.median_s) or not _positive(entry.first_call_s):
                continue
            trace = traces.setdefault(entry.line, _trace(entry.line, entry.kind, styles, [], [], [], mode="markers"))
            trace["x"].append(entry.median_s)
            trace["y"].append(entry.first_call_s)
            trace["customdata"].append(html.escape(f"{names(ranking)}: first call {units.seconds(entry.first_call_s)}, "
                                                   f"then {units.seconds(entry.median_s)}"))
    drawn = list(traces.values())
    layout = _layout("first call, over a later call", height=460)
    layout["xaxis"] |= _quantity_axis(TIME, drawn, "x") | {"title": {"text": "a later call", "font": {"size": 14}}}
    layout["yaxis"] |= _quantity_axis(FIRST, drawn, "y")
    both = [value for trace in drawn for axis in ("x", "y") for value in trace[axis]]
    if both:
        low, high = min(both), max(both)
        layout["shapes"] = [{"type": "line", "x0": low, "y0": low, "x1": high, "y1": high, "layer": "below",
                             "line": {"color": "#8a929c", "width": 1, "dash": "dot"}}]
    return {"data": drawn, "layout": layout}


def _trace(line: Line, kind: str, styles: Styles, x: list, y: list, hover: list[str], *, mode: str,
           dash: str = "solid", text: str | None = None) -> Figure:
    """Methods that are not exact are hollow and dashed."""
    style = styles[line.method]
    exact = kind == "exact"
    trace: Figure = {
        "type": "scatter", "mode": mode, "name": html.escape(line.label), "meta": line.label, "x": x, "y": y,
        "customdata": [html.escape(text) for text in hover], "cliponaxis": False,
        "hovertemplate": "<b>%{fullData.name}</b><br>%{customdata}<extra></extra>",
        "marker": {"color": style.colour, "size": 10, "symbol": style.marker if exact else f"{style.marker}-open",
                   "line": {"width": 0 if exact else 2, "color": style.colour}},
        "line": {"color": style.colour, "width": 2, "dash": dash if exact else "dot"},
    }
    if text is not None:
        trace |= {"text": [text], "textposition": "middle right", "textfont": {"size": 14}}
    return trace


def _tolerances(bounds: Iterable[tuple[Line, float]]) -> Figure:
    bounds = list(bounds)
    return {"type": "scatter", "mode": "markers", "name": "tolerance", "x": [bound for _, bound in bounds],
            "y": [_short(line) for line, _ in bounds], "cliponaxis": False,
            "customdata": [f"tolerance {units.error(bound)}" for _, bound in bounds],
            "hovertemplate": "%{customdata}<extra></extra>",
            "marker": {"symbol": "line-ns-open", "size": 34, "color": "#1b1f24", "line": {"width": 2}}}


def _layout(title: str, height: int) -> Figure:
    """Fixed ranges, so that a finger on a figure still scrolls the page."""
    axis = {"gridcolor": _GRID, "linecolor": "#8a929c", "zeroline": False, "fixedrange": True, "showline": True,
            "automargin": True}
    return {"title": {"text": html.escape(title), "x": 0, "xref": "container", "xanchor": "left", "pad": {"l": 4},
                      "font": {"size": 15}},
            "font": _FONT, "height": height, "margin": {"l": 8, "r": 20, "t": 44, "b": 14}, "showlegend": False,
            "hovermode": "closest", "dragmode": False, "paper_bgcolor": _CLEAR, "plot_bgcolor": _CLEAR,
            "hoverlabel": {"font": {"size": 14}, "align": "left"}, "xaxis": dict(axis), "yaxis": dict(axis)}


def _quantity_axis(quantity: Quantity, traces: Iterable[Figure], axis: str, most: int = 7) -> Figure:
    values = [value for trace in traces for value in trace[axis]]
    if not values:
        return {"visible": False}
    ticks = quantity.ticks(min(values), max(values), most)
    return _log_axis(ticks, lambda tick: units.tick(quantity.write(tick)), pad=0.04)


def _log_axis(ticks: Sequence[float], write: Callable[[float], str], pad: float, title: str | None = None) -> Figure:
    """A log axis over the ticks, with room of `pad` times its length at both ends."""
    low, high = math.log10(min(ticks)), math.log10(max(ticks))
    room = max(high - low, 0.3)
    axis: Figure = {"type": "log", "range": [low - pad * room, high + pad * room],
                    "tickmode": "array", "tickvals": list(ticks), "minor": {"ticks": "", "showgrid": False},
                    "ticktext": [write(tick) for tick in ticks], "tickangle": 0}
    if title is not None:
        axis["title"] = {"text": title, "standoff": 8, "font": {"size": 14}}
    return axis


def _error_axis(values: list[float]) -> Figure:
    if not values:
        return {"visible": False}
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    step = max(1, math.ceil((high - low) / 5))
    ticks = [10.0**power for power in range(low, high + step, step)]
    return _log_axis(ticks, _power_of_ten, pad=0.04)


def _power_of_ten(value: float) -> str:
    power = round(math.log10(value))
    return "1" if power == 0 else f"1e{power}".replace("-", "−")


def _dash(series: Series, facet: Facet) -> str:
    """Several settings of one method share its colour and marker; the dash tells them apart."""
    same = [other.line for other in facet.series if other.line.method == series.line.method]
    return _DASHES[same.index(series.line) % len(_DASHES)]


def _short(line: Line) -> str:
    """The label over two lines, broken behind the library's name: half as wide on a phone."""
    library, dot, rest = line.method.partition(".")
    name = f"{html.escape(library)}{dot}<br>{html.escape(rest)}" if dot else html.escape(library)
    return f"{name}<br>{html.escape(line.settings)}" if line.settings else name


def _height(lines: Iterable[Line]) -> int:
    """Pixels for one row a line, by the tallest of their labels."""
    labels = [_short(line) for line in lines]
    tallest = max((label.count("<br>") for label in labels), default=0)
    return 100 + (26 + 18 * tallest) * max(1, len(labels))


def _hover(quantity: Quantity, entry: Entry) -> str:
    spread = f" {units.percent(entry.spread)}" if quantity is TIME and entry.spread is not None else ""
    return f"{quantity.write(quantity.of(entry))}{spread}"


def _positive(value: float | None) -> bool:
    return value is not None and value > 0
