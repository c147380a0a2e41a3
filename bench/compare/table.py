"""A comparison as a table on a terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import units
from bench.compare.cells import SEPARATOR
from bench.compare.judge import REGRESSIONS, Status, Verdict
from bench.compare.statistics import Change

HEADINGS = ("cell", "verdict", "B/A", "95 % interval", "p", "n", "by")
"""`p` after Holm's correction; `n` processes of A and B, "=" where they are pairs; `by`: on a core or by the clock."""
_STYLES: dict[Status, str] = {"broken": "red", "slower": "red", "disturbed": "yellow", "underpowered": "yellow",
                              "faster": "green", "mended": "green", "same": "", "missing": "dim"}


def print_comparison(verdicts: Sequence[Verdict], title: str, size: float, console: Console) -> None:
    """Regressions first, then what cannot be told, then the rest; remarks; and what it comes to."""
    names, common = _short_names(verdicts)
    console.print(Text(f"{title}. All cells: {common}" if common else title, style="bold"))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        left = heading in ("cell", "verdict", "by")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading != "cell",
                         overflow="fold" if heading == "cell" else "ellipsis")
    for verdict in ordered(verdicts):
        table.add_row(*map(Text, [names[verdict.cell], *_figures(verdict)]), style=_STYLES[verdict.status])
    console.print(table)
    for remark, cells in _remarks(verdicts).items():
        console.print(Text(f"{', '.join(names[cell] for cell in cells)}: {remark}", style="dim"))
    console.print(Text(answer(verdicts, size)))


def markdown(verdicts: Sequence[Verdict], title: str, size: float) -> str:
    """For a comment or a page."""
    names, common = _short_names(verdicts)
    rows = [HEADINGS, ["---"] * len(HEADINGS),
            *([_plain(names[each.cell]), *map(_plain, _figures(each))] for each in ordered(verdicts))]
    remarks = [f"- {_plain(', '.join(names[cell] for cell in cells))}: {_plain(remark)}"
               for remark, cells in _remarks(verdicts).items()]
    return "\n".join([f"**{_plain(title)}**" + (f" (all cells: {_plain(common)})" if common else ""), "",
                      *(f"| {' | '.join(row)} |" for row in rows), "", *remarks, *([""] if remarks else []),
                      answer(verdicts, size), ""])


def to_json(verdicts: Sequence[Verdict], title: str, size: float) -> str:
    """All figures; what is infinite is null."""
    document = {"title": title, "size": size, "answer": answer(verdicts, size),
                "verdicts": [_finite(asdict(verdict)) for verdict in verdicts]}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def ordered(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """By verdict, as `Status` lists them, then by how large the change is."""
    order = get_args(Status)
    return sorted(verdicts, key=lambda verdict: (order.index(verdict.status), -abs(_log(verdict.change))))


def answer(verdicts: Sequence[Verdict], size: float) -> str:
    """One sentence for all cells."""
    counts = Counter(verdict.status for verdict in verdicts)
    told = ", ".join(f"{counts[status]} {status}" for status in get_args(Status) if counts[status])
    bad = sum(counts[status] for status in REGRESSIONS)
    return (f"{'No regression' if not bad else f'{bad} regression' + ('s' if bad > 1 else '')} in {len(verdicts)} "
            f"cells: {told}. \"same\": a change of {size:.0%} is ruled out; \"underpowered\": it is not.")


def _figures(verdict: Verdict) -> list[str]:
    change = verdict.change
    if change is None:
        return [verdict.status, *[units.NONE] * (len(HEADINGS) - 2)]
    measure = next(iter(verdict.changes))
    interval = f"{change.low:.3f}–{change.high:.3f}" if math.isfinite(change.high) else units.NONE
    n = f"{change.n_a}=" if change.paired else f"{change.n_a}+{change.n_b}"
    return [verdict.status, f"{change.ratio:.3f}", interval, f"{verdict.p_adjusted[measure]:.1g}", n, measure]


def _short_names(verdicts: Sequence[Verdict]) -> tuple[dict[str, str], str]:
    """Cells by what tells them apart, and what is common to all."""
    parts = {verdict.cell: verdict.cell.split(SEPARATOR) for verdict in verdicts}
    first = next(iter(parts.values()))
    common = {part for part in first if all(part in each for each in parts.values())} if len(parts) > 1 else set()
    return ({cell: SEPARATOR.join(part for part in each if part not in common) for cell, each in parts.items()},
            SEPARATOR.join(part for part in first if part in common))


def _remarks(verdicts: Sequence[Verdict]) -> dict[str, list[str]]:
    """Remark → cells."""
    found: dict[str, list[str]] = {}
    for verdict in ordered(verdicts):
        for remark in verdict.remarks:
            found.setdefault(remark, []).append(verdict.cell)
    return found


def _log(change: Change | None) -> float:
    return math.log(change.ratio) if change and 0 < change.ratio < math.inf else 0.0


def _plain(text: str) -> str:
    """In a cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("`", "\\`")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
