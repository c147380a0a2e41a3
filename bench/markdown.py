"""The structured engines beside the best of their peers, as tables for a page of Markdown.

    python -m bench.markdown ROWS.json …          # what `bench export --format json` wrote

docs/engines.md is made of the files in bench/results/ in this way.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench import units
from bench.engine_section import Comparison, comparisons, turns
from bench.export import load_json
from bench.record import Environment, Record
from bench.summary import rankings
from reference import InputError

_HEADINGS = ("case", "engine", "time", "× bound", "best peer", "its time", "faster", "than NT structured", "first call",
             "NT's", "peak memory", "best peer's")


def tables(records: Sequence[Record], environments: Sequence[Environment]) -> str:
    """The machine and its versions, then one table for each number of threads, with a line for each case and engine.

    The ratios are those of `bench.engine_section`.
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
    rows = [_HEADINGS, tuple("---" if heading in ("case", "engine", "best peer") else "---:" for heading in _HEADINGS),
            *((ranking.group.info.case, *_row(each)) for ranking in rankings(records)
              for each in comparisons(ranking, times))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(each: Comparison) -> tuple[str, ...]:
    engine, peer, nt = each.engine, each.peer, each.nt
    return (engine.line.method, units.seconds(engine.median_s), units.times(each.over_bound),
            peer.line.method if peer else units.NONE, units.seconds(peer and peer.median_s), units.times(each.faster),
            units.times(each.faster_than_nt), units.seconds(engine.first_call_s),
            units.seconds(nt and nt.first_call_s), units.memory(engine.peak_bytes),
            units.memory(peer and peer.peak_bytes))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends with status 2 and one line where a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m bench.markdown", description="The engines' figures as Markdown.")
    parser.add_argument("rows", type=Path, nargs="+", metavar="ROWS.json")
    for path in parser.parse_args(arguments).rows:
        try:
            records, environments = load_json(path)
        except InputError as error:
            parser.error(str(error))
        print(f"{tables(records, list(environments.values()))}\n")


if __name__ == "__main__":
    main()
