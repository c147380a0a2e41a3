"""One picture for a page that shows no HTML: time against width as a static SVG, each line with its name beside it.

    python -m bench.report.picture RESULTS.sqlite OUT.svg
    python -m bench.report.picture ROWS.json OUT.svg          # what `bench export --format json` wrote

Written by hand, so that it needs no drawing library; colours and markers are the report's.
"""

from __future__ import annotations

import argparse
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import units
from bench.records.export import load_json
from bench.records.record import Environment, Record
from bench.records.store import Store, StoreError, latest
from bench.report.labels import Labels
from bench.report.page import points
from bench.report.palette import Style, styles
from bench.report.scaling import Facet, Series, facets
from bench.report.summary import rankings
from reference import InputError

WIDTH, HEIGHT = 1010, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 590, 84, 440
_LABEL_GAP = 21
_VERSIONS = ("jax", "torch", "equinox", "neural-tangents")


@dataclass(frozen=True)
class Axes:
    """Widths and seconds to pixels, both logarithmic."""

    widths: Sequence[int]
    ticks: Sequence[float]
    """Of the time axis, in seconds; it runs from the first to the last."""

    def x(self, width: float) -> float:
        return scaled(width, self.widths[0], self.widths[-1], _LEFT + 14, _RIGHT - 14)

    def y(self, seconds: float) -> float:
        return scaled(seconds, self.ticks[0], self.ticks[-1], _BOTTOM, _TOP)


def picture(records: Sequence[Record], environments: Mapping[str, Environment]) -> str:
    """The SVG of the facet with the most widths; among those, of the most outputs and then the largest batch.

    Raises `InputError` where no case has a correct kernel at two widths.
    """
    facet = _choose(facets(rankings(records)))
    times = [entry.median_s for series in facet.series for entry in series.entries if entry.median_s]
    axes = Axes(facet.widths, units.time_ticks(min(times), max(times)))
    style = styles(record.cell.method for record in records)
    lines = [_line(series, axes, style[series.line.method]) for series in facet.series]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, -apple-system, \'Segoe UI\', Roboto, sans-serif" font-size="14" fill="#1b1f24">',
        f"<title>{html.escape(_title(facet))}</title>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_heading(facet), *_grid(axes), *lines, *_labels(facet, axes, style),
        text(_LEFT, HEIGHT - 16, _machine(environments.get(facet.group.environment)), size=13, colour="#57606a"),
        "</svg>\n"])


def _choose(found: Sequence[Facet]) -> Facet:
    usable = [facet for facet in found if len(facet.widths) > 1]
    if not usable:
        raise InputError("the results hold no case with correct kernels at two widths or more: nothing to draw")
    return max(usable, key=lambda facet: (len(facet.widths), facet.group.info.n_outputs or 0, facet.group.info.n1))


def _title(facet: Facet) -> str:
    return f"Time of one neural tangent kernel against the width of the {facet.group.info.network}"


def _heading(facet: Facet) -> list[str]:
    legend = "Only kernels that passed the check are drawn. Hollow, dotted: not exact."
    return [text(_LEFT, 28, _title(facet), size=18, weight=600), text(_LEFT, 50, Labels([facet.group]).common),
            text(_LEFT, 69, legend, size=13, colour="#57606a")]


def _grid(axes: Axes) -> list[str]:
    parts = []
    for tick in axes.ticks:
        parts.append(rule(_LEFT, axes.y(tick), _RIGHT, axes.y(tick)))
        parts.append(text(_LEFT - 8, axes.y(tick) + 5, units.tick(units.seconds(tick)), anchor="end"))
    for width in axes.widths:
        parts.append(rule(axes.x(width), _TOP, axes.x(width), _BOTTOM))
        parts.append(text(axes.x(width), _BOTTOM + 20, str(width), anchor="middle"))
    parts.append(text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "width", anchor="middle"))
    return parts


def _line(series: Series, axes: Axes, style: Style) -> str:
    places = _places(series, axes)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    exact = series.kind == "exact"
    dash = "" if exact else ' stroke-dasharray="2 4"'
    fill = style.colour if exact else "#ffffff"
    marks = "".join(f'<polygon points="{points(style.marker, x, y, 5.5)}" fill="{fill}"/>' for x, y in places)
    return (f'<g stroke="{style.colour}" stroke-width="2"><polyline points="{path}" fill="none"{dash}/>'
            f'<g stroke-width="{0 if exact else 1.5}">{marks}</g></g>')


def _labels(facet: Facet, axes: Axes, style: Mapping[str, Style]) -> list[str]:
    """Names with the time at their last width, moved apart where they would overlap, and tied to their lines."""
    ends = sorted(((_places(series, axes)[-1], series) for series in facet.series), key=lambda pair: pair[0][1])
    spread = _apart([y for (_, y), _ in ends])
    parts = []
    for ((x, y), series), at in zip(ends, spread, strict=True):
        colour = style[series.line.method].colour
        parts.append(f'<polyline points="{x + 8:.1f},{y:.1f} {_RIGHT + 6},{y:.1f} {_RIGHT + 22},{at:.1f}" fill="none" '
                     f'stroke="{colour}" stroke-width="1" stroke-opacity=".4"/>')
        parts.append(f'<polygon points="{points(style[series.line.method].marker, _RIGHT + 30, at, 5)}" '
                     f'fill="{colour if series.kind == "exact" else "#ffffff"}" stroke="{colour}"/>')
        parts.append(text(_RIGHT + 98, at + 5, units.seconds(series.entries[-1].median_s), anchor="end"))
        short = "" if series.widths[-1] == axes.widths[-1] else f" (width {series.widths[-1]})"
        parts.append(text(_RIGHT + 106, at + 5, f"{series.line.method}{short}"))
    return parts


def _apart(places: list[float]) -> list[float]:
    """The ascending places pushed down until they are `_LABEL_GAP` apart, then up until they end inside the frame."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + _LABEL_GAP) if moved else place)
    limit = float(_BOTTOM)
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - _LABEL_GAP
    return moved


def _places(series: Series, axes: Axes) -> list[tuple[float, float]]:
    return [(axes.x(width), axes.y(entry.median_s)) for width, entry in zip(series.widths, series.entries, strict=True)
            if width and entry.median_s]


def _machine(environment: Environment | None) -> str:
    if environment is None:
        return ""
    versions = [f"{name} {environment.versions[name]}" for name in _VERSIONS if name in environment.versions]
    return f"{environment.accelerator or environment.machine}; {', '.join(versions)}"


def scaled(value: float, low: float, high: float, start: float, end: float) -> float:
    """The place of a value on a logarithmic axis."""
    return start + (end - start) * math.log(value / low) / math.log(high / low)


def rule(x1: float, y1: float, x2: float, y2: float) -> str:
    """A line of the grid."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e3e6ea"/>'


def text(x: float, y: float, words: str, size: int = 14, anchor: str = "start", weight: int = 400,
          colour: str = "#1b1f24") -> str:
    """Words at a place."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
            f'fill="{colour}">{html.escape(words)}</text>')


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends with status 2 and one line where nothing can be read, drawn or written."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.picture",
                                     description="Draw time against width as an SVG.")
    parser.add_argument("results", type=Path, metavar="RESULTS.sqlite|ROWS.json")
    parser.add_argument("out", type=Path, metavar="OUT.svg")
    given = parser.parse_args(arguments)
    try:
        records, environments = _read(given.results)
        given.out.write_text(picture(latest(records), environments), encoding="utf-8")
    except (InputError, StoreError, OSError) as error:
        parser.error(str(error))


def _read(path: Path) -> tuple[list[Record], dict[str, Environment]]:
    if path.suffix == ".json":
        return load_json(path)
    store = Store(path)
    return store.records(), store.environments()


if __name__ == "__main__":
    main()
