"""The report's page: one HTML file that loads nothing, with the style, plotly and the figures inside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import markup
from bench.report.markup import Markup, element
from bench.report.palette import Style, outline

_ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it; `key` is its anchor."""

    key: str
    title: str
    body: Markup


def page(title: str, lead: Markup, finder: Markup, sections: Sequence[Section], figures: Mapping[str, Any],
         styles: Mapping[str, Style]) -> str:
    """The whole document; `finder` is above the sections. Plotly is inside only where there is a figure."""
    nav = element("nav", *(element("a", section.title, href=f"#{section.key}") for section in sections))
    body = markup.join(element("section", element("h2", section.title), section.body, id=section.key)
                       for section in sections)
    head = markup.join((
        element("meta", charset="utf-8"), element("title", title),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light"),
        # An icon of its own keeps browsers from asking for one.
        element("link", rel="icon", href="data:,"),
        element("style", Markup((_ASSETS / "report.css").read_text("utf-8"))),
    ))
    content = markup.join((_symbols(styles), element("header", element("h1", title), lead, nav),
                           element("main", finder, body), _scripts(figures)))
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{content}</body></html>\n'


def figure(key: str, height: int, label: str) -> Markup:
    """The place of a figure; the script draws it when it comes into view."""
    return element("div", class_="figure", data_figure=key, style=f"min-height:{height}px", role="img",
                   aria_label=label)


def swatch(style: Style, exact: bool = True) -> Markup:
    """A method's marker in its colour; hollow for methods that are not exact."""
    paint = f"fill:{style.colour}" if exact else f"fill:none;stroke:{style.colour};stroke-width:.35"
    return Markup(f'<svg class="swatch" viewBox="-1.2 -1.2 2.4 2.4" aria-hidden="true" style="{paint}">'
                  f'<use href="#marker-{style.marker}"/></svg>')


def _symbols(styles: Mapping[str, Style]) -> Markup:
    shapes = "".join(f'<polygon id="marker-{marker}" points="{points(marker)}"/>'
                     for marker in sorted({style.marker for style in styles.values()}))
    return Markup(f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{shapes}</defs></svg>')


def points(marker: str, x: float = 0.0, y: float = 0.0, radius: float = 1.0) -> str:
    """A marker as the `points` of an SVG polygon."""
    return " ".join(f"{x + radius * dx:.2f},{y + radius * dy:.2f}" for dx, dy in outline(marker))


def _scripts(figures: Mapping[str, Any]) -> Markup:
    parts = []
    if figures:
        from plotly.offline import get_plotlyjs  # the one thing needed of plotly, and slow to import

        # "<" is escaped, so that no text of a figure can end the script element.
        data = json.dumps(figures, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        parts = [element("script", Markup(get_plotlyjs())),
                 element("script", Markup(data), type="application/json", id="figures")]
    return markup.join([*parts, element("script", Markup((_ASSETS / "report.js").read_text("utf-8")))])
