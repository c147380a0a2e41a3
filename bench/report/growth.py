"""How time and memory grow with one size: the points of `bench.commands.grow`, exponents fitted to them, a picture.

An exponent is the slope of a straight line through logarithms, by least squares, over the upper half of the sizes (at
least three): there what grows slowest has become small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench import units
from bench.cells import scale
from bench.report.palette import styles
from bench.report.picture import rule, scaled, text

FEWEST = 3
WIDTH, PANEL, HEIGHT, TOP, BOTTOM = 1010, 252, 640, 70, 300
ROW = 290
"""From the panels of times to those of memory."""


class Point(NamedTuple):
    """One size: seconds of a call, or what stands for them, and bytes, None where they were not measured."""

    size: int
    seconds: float
    bytes: float | None


Curves = Mapping[tuple[str, str], Sequence[Point]]
"""By what grows and the method."""


def curves(rows: Sequence[Mapping[str, Any]]) -> Curves:
    """Of the rows that were measured."""
    found: dict[tuple[str, str], list[Point]] = {}
    for row in rows:
        point = Point(row["size"], row["seconds"], row["peak_bytes"])
        found.setdefault((row["grows"], row["method"]), []).append(point)
    return {key: sorted(points) for key, points in found.items()}


def exponent(sizes: Sequence[float], values: Sequence[float | None]) -> float | None:
    """None for fewer than three values."""
    pairs = [(math.log(size), math.log(value)) for size, value in zip(sizes, values, strict=True) if value]
    if len(pairs) < FEWEST:
        return None
    x, y = np.array(pairs[-max(FEWEST, (len(pairs) + 1) // 2):]).T
    return float(np.polyfit(x, y, 1)[0])


def picture(measured: Curves, predicted: Curves) -> str:
    """An SVG: for each size a panel of seconds and one of bytes; measured with marks, predicted dashed."""
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
             f'height="{HEIGHT}" font-family="system-ui, sans-serif" font-size="13" fill="#1b1f24">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
             text(12, 26, "How time (above) and peak memory (below) of one kernel grow with one size", size=18,
                  weight=600)]
    methods = sorted({method for _, method in measured})
    style = styles(methods)
    for at, method in enumerate(methods):
        parts.append(text(12 + 190 * at, 50, f"● {method}", colour=style[method].colour))
    parts.append(text(12 + 190 * len(methods), 50, "dashed: as the plan's operations and bytes grow, from the last "
                      "point measured", colour="#57606a"))
    for column, what in enumerate(scale.SIZES):
        for row in (0, 1):
            parts += _panel(column, row, what, [(method, measured[what, method], predicted.get((what, method), ()),
                                                 style[method].colour) for method in methods
                                                if (what, method) in measured])
    return "\n".join([*parts, "</svg>\n"])


def _panel(column: int, row: int, what: str, lines: Sequence[tuple[str, Sequence[Point], Sequence[Point], str]]
           ) -> list[str]:
    left, right = 12 + PANEL * column + 44, 12 + PANEL * (column + 1) - 16
    top, bottom = TOP + ROW * row, BOTTOM + ROW * row - 20
    sizes = scale.SIZES[what]
    values = [value for _, points, _, _ in lines for point in points if (value := point[1 + row])]
    if not values:
        return []
    ticks = (units.memory_ticks if row else units.time_ticks)(min(values), max(values), 5)

    def x(size: float) -> float:
        return scaled(size, sizes[0], sizes[-1], left, right)

    def y(value: float) -> float:
        return scaled(value, ticks[0], ticks[-1], bottom, top)

    parts = [text((left + right) / 2, bottom + 32, what, anchor="middle")]
    for tick in ticks:
        parts += [rule(left, y(tick), right, y(tick)),
                  text(left - 5, y(tick) + 4, units.tick((units.memory if row else units.seconds)(tick)), size=11,
                       anchor="end")]
    for size in (sizes[0], sizes[-1]):
        parts.append(text(x(size), bottom + 16, f"{size:,}", size=11, anchor="middle"))
    for _, points, due, colour in lines:
        found = [(point.size, value) for point in points if (value := point[1 + row])]
        if not found:
            continue
        parts.append(_line([(x(s), y(v)) for s, v in found], colour, ""))
        parts += [f'<circle cx="{x(s):.1f}" cy="{y(v):.1f}" r="3.5" fill="{colour}"/>' for s, v in found]
        last = found[-1][1]
        of_last = next((point[1 + row] for point in due if point.size == found[-1][0]), None)
        if last and of_last:
            scaled_down = [(p.size, v * last / of_last) for p in due if (v := p[1 + row])]
            shape = [(x(size), y(value)) for size, value in scaled_down if value > ticks[0]]
            parts.append(_line(shape, colour, ' stroke-dasharray="4 4" stroke-opacity=".6"'))
    return parts


def _line(places: Sequence[tuple[float, float]], colour: str, dash: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'
