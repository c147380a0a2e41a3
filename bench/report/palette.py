"""One colour and one marker for each method, the same in every figure.

The first fourteen colours are the best found in a random search over saturated colours with a contrast of at least 2.5
to white: the smallest distance between two of them in OKLab (Ottosson 2020) is 0.146 to normal vision and 0.097 to full
protanopia and deuteranopia (Machado et al. 2009). The other five, for further witnesses, were searched for between them
and are closer: 0.09 and 0.06. Neighbours in the list lean to one hue where the registry has methods of one library.
Each comes with a marker shape, so that colour never stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import impls

_COLOURS = (
    "#0020e0", "#80a0ff", "#2080c0", "#202060", "#604060",  # blues to plum
    "#ff8000", "#a02000", "#402000", "#ff0000",             # oranges, browns, red
    "#008060", "#8000a0", "#e020a0", "#a040ff", "#e080a0",  # green, purples, pinks
    "#808000", "#e00060", "#8040c0", "#406040", "#a0a060",  # olives, crimson, violet
)
_MARKERS = (
    "circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star", "cross", "x",
    "triangle-left", "triangle-right", "hexagon", "hourglass", "bowtie",
)


@dataclass(frozen=True)
class Style:
    """How a method is drawn. `marker` is plotly's name for the shape; `"-open"` after it leaves it hollow."""

    index: int
    colour: str
    marker: str


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """Method to style: those of the registry by their place in it, others behind them by name.

    A method keeps its style whichever others are shown beside it. Past nineteen methods the colours come round again
    with another marker.
    """
    known = impls.names(None)
    order = [*known, *sorted(set(methods) - set(known))]
    return {name: _style(index) for index, name in enumerate(order)}


def _style(index: int) -> Style:
    turn, place = divmod(index, len(_COLOURS))
    return Style(index, _COLOURS[place], _MARKERS[(place + 5 * (turn + place // len(_MARKERS))) % len(_MARKERS)])


def outline(marker: str) -> list[tuple[float, float]]:
    """Corners of a marker, y downwards, within a circle of radius 1 around the origin; for drawing it as SVG."""
    if marker in _POLYGONS:
        corners, turn = _POLYGONS[marker]
        return _ring([1.0], corners, turn)
    if marker == "star":
        return _ring([1.0, 0.45], 10, -90)
    if marker == "cross":
        return _CROSS
    if marker == "x":
        half = math.sqrt(0.5)
        return [(half * (x - y), half * (x + y)) for x, y in _CROSS]
    return {"hourglass": [(-0.8, -0.8), (0.8, -0.8), (-0.8, 0.8), (0.8, 0.8)],
            "bowtie": [(-0.8, -0.8), (-0.8, 0.8), (0.8, -0.8), (0.8, 0.8)]}[marker]


def _ring(radii: list[float], corners: int, turn: float) -> list[tuple[float, float]]:
    angles = [math.radians(turn + 360 * k / corners) for k in range(corners)]
    return [(radii[k % len(radii)] * math.cos(a), radii[k % len(radii)] * math.sin(a)) for k, a in enumerate(angles)]


# Marker → (corners, degrees of the first one, clockwise from the right).
_POLYGONS = {
    "circle": (32, 0), "square": (4, 45), "diamond": (4, 0), "triangle-up": (3, -90), "triangle-down": (3, 90),
    "triangle-left": (3, 180), "triangle-right": (3, 0), "pentagon": (5, -90), "hexagon": (6, -90),
}
_CROSS = [(-0.35, -1.0), (0.35, -1.0), (0.35, -0.35), (1.0, -0.35), (1.0, 0.35), (0.35, 0.35),
          (0.35, 1.0), (-0.35, 1.0), (-0.35, 0.35), (-1.0, 0.35), (-1.0, -0.35), (-0.35, -0.35)]
