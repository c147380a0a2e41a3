"""HTML that is safe by construction: text is escaped unless it is `Markup` already."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

VOID = {"br", "input", "link", "meta", "wbr"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the direction of what follows them."""


def text(value: Any) -> Markup:
    """`value` as HTML: `Markup` as it is, everything else escaped, and nothing in it turns the text behind it round."""
    if isinstance(value, Markup):
        return value
    escaped = html.escape(str(value))
    return Markup(f"<bdi>{escaped}</bdi>" if _TURNS.search(escaped) else escaped)


def join(parts: Iterable[Any], between: str = "") -> Markup:
    """The parts, each escaped unless it is `Markup`, with escaped text between them."""
    return Markup(text(between).join(text(part) for part in parts))


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """``<name …>children</name>``; ``class_`` is written class, ``data_x`` data-x, and None leaves an attribute out."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
                    for key, value in attributes.items() if value is not None)
    return Markup(f"<{name}{pairs}>") if name in VOID else Markup(f"<{name}{pairs}>{join(children)}</{name}>")


def table(headings: Sequence[Any], rows: Iterable[Sequence[Any]], numeric: Iterable[str] = (),
          **attributes: Any) -> Markup:
    """A table in a box of its own that scrolls, so that the page never does.

    Cells under `numeric` headings align right. A row may be a finished ``<tr>`` instead of its cells.
    """
    right = {index for index, heading in enumerate(headings) if heading in set(numeric)}
    head = element("tr", *(element("th", heading, scope="col", class_="num" if i in right else None)
                           for i, heading in enumerate(headings)))
    body = join(row if isinstance(row, Markup) else table_row(row, right) for row in rows)
    whole = element("table", element("thead", head), element("tbody", body), **attributes)
    return element("div", whole, class_="scroll", tabindex="0")


def table_row(cells: Sequence[Any], right: Iterable[int] = (), **attributes: Any) -> Markup:
    """A row; a cell that is a finished ``<td>`` or ``<th>`` is taken as it is."""
    right = set(right)
    made = [cell if isinstance(cell, Markup) and cell.startswith(("<td", "<th"))
            else element("td", cell, class_="num" if index in right else None) for index, cell in enumerate(cells)]
    return element("tr", *made, **attributes)
