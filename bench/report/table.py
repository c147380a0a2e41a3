"""The results as tables on a terminal, readable from 80 columns on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import units
from bench.records.noise import weather
from bench.records.record import Record, Status
from bench.report.labels import Labels
from bench.report.summary import BAD, WORST_FIRST, Ranking, Total, rankings, totals, winners

WIDE = 100
"""Columns from which on there is room for the spread of the times."""

DISTURBED = "*"
"""Behind a time that other work on the machine has disturbed."""
_MORE = ", and more processes (--replicates) tell more apart"

_ERRORS = {"limit": 'of "limit" is the distance of another kernel from the finite one',
           "stochastic": 'of "stoch" is the noise of an estimate'}

_BADLY: tuple[Status, ...] = (*BAD, "undecided", "oom", "timeout")


def print_table(records: Iterable[Record], console: Console) -> None:
    """Each cell's methods from the fastest on, what is not ranked and why, and a summary over all cells."""
    records = list(records)
    ranked = rankings(records)
    if not ranked:
        console.print("Nothing has been measured.")
        return
    labels = Labels([ranking.group for ranking in ranked])
    found = weather(records)
    if said := str(found):
        console.print(Text(said, style="bold yellow" if found.busy else ""))
    console.print(Text(f"All cells: {labels.common}"))
    for ranking in ranked:
        console.print()
        console.print(Text(labels.name(ranking.group), style="bold"))
        if ranking.ranked or ranking.unranked:
            console.print(_cell_table(ranking, console.width >= WIDE))
        for remark in dict.fromkeys(entry.remark for entry in ranking.entries if entry.remark):
            console.print(Text(remark, style="yellow"))
        if ranking.failed:
            console.print(_failures(ranking))
    console.print()
    console.print(_totals_table(totals(ranked)))
    console.print(_answer(totals(ranked), sum(ranking.fastest is not None for ranking in ranked)))
    shown = {entry.kind for ranking in ranked for entry in ranking.unranked
             if entry.kind != "limit" or ranking.group.quantity == "ntk"}  # of an NNGP the limit is what is due
    if meanings := [text for kind, text in _ERRORS.items() if kind in shown]:
        console.print(Text(f"\"error\" {'; '.join(meanings)}: no mistake."))


def _cell_table(ranking: Ranking, wide: bool) -> Table:
    table = _table("method", "place", "time", *(["spread"] if wide else []), "slower", "first", "memory", "error")
    for entry in (*ranking.ranked, *ranking.unranked):
        slower = units.times(entry.slower) if entry.slower else entry.kind[:5]
        cells = [f"{units.seconds(entry.median_s)}{DISTURBED if entry.disturbed else ''}",
                 *([units.percent(entry.spread)] if wide else []), slower, units.seconds(entry.first_call_s),
                 units.memory(entry.peak_bytes), units.error(entry.error)]
        style = "green" if entry.first else "" if entry.rankable else "dim"
        place = str(entry.places) if entry.places else ""
        table.add_row(*(Text(cell) for cell in (entry.line.label, place, *cells)), style=style)
    return table


def _failures(ranking: Ranking) -> Table:
    """A row for each reason, with the methods that have it."""
    methods: dict[tuple[Status, str], list[str]] = defaultdict(list)
    for entry in ranking.failed:
        methods[entry.status, entry.reason].append(entry.line.label)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for (status, reason), names in sorted(methods.items(), key=lambda item: WORST_FIRST.index(item[0][0])):
        style = "red" if status in BAD else "yellow" if status in _BADLY else "dim"
        table.add_row(Text(status.replace("_", " "), style), Text(f"{', '.join(names)}: {reason}"))
    return table


def _totals_table(lines: Sequence[Total]) -> Table:
    table = _table("method", "ok", "fastest", "slower")
    table.add_column("not ok", overflow="fold")
    for total in lines:
        wins = f"{total.alone}{f'+{total.shared}' if total.shared else ''}" if total.kind == "exact" else total.kind[:5]
        failed = ", ".join(f"{total.statuses[status]} {status.replace('_', ' ')}" for status in WORST_FIRST
                           if status != "ok" and status in total.statuses)
        cells = (total.line.label, str(total.statuses.get("ok", 0)), wins, units.times(total.median_slower), failed)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _answer(lines: Sequence[Total], contested: int) -> Text:
    won = winners(lines)
    if not won:
        return Text("No exact method gave a correct kernel in any cell.")
    return Text(f"Fastest correct method, of {contested} cell{'' if contested == 1 else 's'}: {', '.join(won)}. "
                f'"place": methods that cannot be told apart share places ("1–3"){_MORE}; "slower": times the fastest '
                f'one\'s time, its median over cells; "{DISTURBED}": disturbed by other work on the machine.')


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(first, overflow="fold", min_width=20)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
