"""The structured engines beside the best of their peers, as tables for a page of Markdown.

    python -m bench.report.markdown ROWS.json …          # what `bench export --format json` wrote

docs/engines.md is made of the files in bench/results/ in this way.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.records.export import load_json
from bench.records.record import Environment, Record
from bench.report.engine_section import HEADINGS, comparisons, row, turns
from bench.report.summary import rankings
from reference import InputError

LEFT = ("engine", "best peer")
"""Of its columns those of words; the others are figures."""


def tables(records: Sequence[Record], environments: Sequence[Environment]) -> str:
    """The machine and its versions, then one table for each number of threads, with a line for each case and engine.

    The ratios are those of `bench.report.engine_section`.
    """
    machines = [f"{each.accelerator or each.machine}: {', '.join(f'{k} {v}' for k, v in each.versions.items())}."
                for each in environments]
    parts = ["\n".join(machines)]
    for threads in sorted({record.cell.threads for record in records}):
        some = [record for record in records if record.cell.threads == threads]
        n_turns = 1 + max(record.replicate for record in some)
        parts += [f"Threads: {threads}; turns: {n_turns}.", _table(some)]
    return "\n\n".join(parts)


def _table(records: Sequence[Record]) -> str:
    times = turns(records)
    found = [(ranking.group.info.case, row(each, lambda line: line.method)) for ranking in rankings(records)
             for each in comparisons(ranking, times)]
    lines = [["case", *_shown(HEADINGS)], ["---", *("---" if name in LEFT else "---:" for name in _shown(HEADINGS))],
             *([case, *_shown(cells)] for case, cells in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(cells: Sequence[str]) -> list[str]:
    """All but the bound's own time, which its ratio tells."""
    return [cell for heading, cell in zip(HEADINGS, cells, strict=True) if heading != "bound"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends with status 2 and one line where a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.markdown",
                                     description="The engines' figures as Markdown.")
    parser.add_argument("rows", type=Path, nargs="+", metavar="ROWS.json")
    for path in parser.parse_args(arguments).rows:
        try:
            records, environments = load_json(path)
        except InputError as error:
            parser.error(str(error))
        print(f"{tables(records, list(environments.values()))}\n")


if __name__ == "__main__":
    main()
