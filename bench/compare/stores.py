"""Rows that were measured before: two stores, or two methods in one."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.compare.cells import label
from bench.compare.judge import Contest, Process, Status, of_calls
from bench.records.export import load_json
from bench.records.noise import is_disturbed, longer
from bench.records.record import Environment, Record
from bench.records.store import Store, latest
from reference import InputError

MEASURE = "wall"
"""Rows hold seconds by the clock."""


@dataclass(frozen=True)
class Rows:
    """All rows of a store, and where they were measured."""

    name: str
    records: Sequence[Record]
    environments: Mapping[str, Environment]

    @property
    def newest(self) -> list[Record]:
        """Those of the newest environment, which are compared; the earlier ones are their history."""
        return latest(self.records)

    @property
    def environment(self) -> Environment | None:
        return self.environments.get(self.newest[0].environment) if self.newest else None


def read(path: Path) -> Rows:
    """A folder with results, a results file, or rows that `bench export --format json` wrote. Raises `InputError` or
    `StoreError` for anything else, and for times that are none."""
    if path.suffix == ".json":
        records, environments = load_json(path)
    else:
        store = Store(path)
        records, environments = store.records(), store.environments()
    for record in records:
        _check_times(path, record)
    return Rows(str(path), records, environments)


def _check_times(path: Path, record: Record) -> None:
    for seconds in record.samples_s if _timed(record) else ():
        if not 0 < seconds < math.inf:
            raise InputError(f"{path}: {label(record.cell)} has a call of {seconds:g} s in replicate "
                             f"{record.replicate}: times are positive and finite; measure the row anew (run --rerun)")


def of_two_stores(a: Rows, b: Rows, by: str, across_machines: bool) -> list[Contest]:
    """A contest for each cell that either has. Runs were not made in turns: their processes are no pairs.

    Raises `InputError` for rows of two machines, unless `across_machines`.
    """
    _check(a, b)
    if not across_machines:
        _check_machines(a, b)
    sides = [_by_cell(rows.newest) for rows in (a, b)]
    histories = [_histories(rows, by) for rows in (a, b)]
    return [_contest(label(_any(sides, key).cell), sides[0].get(key, []), sides[1].get(key, []), by, paired=False,
                     history=[*histories[0].get(key, []), *histories[1].get(key, [])])
            for key in dict.fromkeys((*sides[0], *sides[1]))]


def of_two_methods(rows: Rows, a: str, b: str, by: str) -> list[Contest]:
    """A contest for each cell that either method has. In pairs where the run measured them in turns."""
    _check(rows)
    sides = [_by_cell([record for record in rows.newest if record.cell.method == name], but_method=True)
             for name in (a, b)]
    return [_contest(label(replace(_any(sides, key).cell, method=f"{a} → {b}", options={})), sides[0].get(key, []),
                     sides[1].get(key, []), by, _in_turns(sides[0].get(key, []), sides[1].get(key, [])), [],
                     two_methods=True)
            for key in dict.fromkeys((*sides[0], *sides[1]))]


def methods(rows: Rows) -> list[str]:
    """Those that have rows."""
    return list(dict.fromkeys(record.cell.method for record in rows.newest))


def _check(*sides: Rows) -> None:
    for rows in sides:
        if not rows.records:
            raise InputError(f"there are no rows in {rows.name}: nothing to compare")


def _check_machines(a: Rows, b: Rows) -> None:
    told = [rows.environment and (rows.environment.machine, rows.environment.accelerator) for rows in (a, b)]
    if told[0] != told[1]:
        raise InputError(f"{a.name} and {b.name} were measured on two machines, {_text(told[0])} and {_text(told[1])}: "
                         "their times tell of the machines; --across-machines compares them all the same")


def _text(told: tuple[str, str] | None) -> str:
    return "an unknown one" if told is None else " with ".join(filter(None, told))


def _any(sides: Iterable[dict[str, list[Record]]], key: str) -> Record:
    return next(side[key][0] for side in sides if key in side)


def _by_cell(records: Iterable[Record], but_method: bool = False) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[_key(record, but_method)].append(record)
    return {key: sorted(some, key=lambda record: record.replicate) for key, some in found.items()}


def _key(record: Record, but_method: bool) -> str:
    """What makes two rows the same cell: the case's contents too. The seed is no setting: replicates may differ in it.
    Of two methods the options are their own."""
    cell: dict[str, Any] = asdict(record.cell) | {"seed": 0}
    if but_method:
        cell |= {"method": "", "options": {"quantity": record.cell.quantity}}
    return json.dumps([cell, record.info.digest], sort_keys=True)


def _contest(name: str, a: list[Record], b: list[Record], by: str, paired: bool, history: Sequence[float],
             two_methods: bool = False) -> Contest:
    sides = [[Process({MEASURE: of_calls(record.samples_s, by)}, longer(record), is_disturbed(record))
              for record in side if _timed(record)] for side in (a, b)]
    problem = _problem(a, b)
    if problem and two_methods:  # what one method does not do is no change of the other
        problem = "missing", problem[1]
    return Contest(name, *sides, paired=paired and len(sides[0]) == len(sides[1]), problem=problem,
                   history={MEASURE: history})


def _timed(record: Record) -> bool:
    return record.status == "ok" and bool(record.samples_s)


def _problem(a: list[Record], b: list[Record]) -> tuple[Status, str] | None:
    """A process that failed beside others that did not is a failure of its side."""
    if not a or not b:
        return "missing", f"only in {'A' if a else 'B'}"
    bad = [next((record for record in side if not _timed(record)), None) for side in (a, b)]
    if bad[0] and bad[1]:
        return "missing", f"{bad[0].status} on both sides" if bad[0].status == bad[1].status else \
            f"{bad[0].status} in A, {bad[1].status} in B"
    verdicts: tuple[Status, Status] = ("mended", "broken")
    for side, record, status in zip("AB", bad, verdicts, strict=True):
        if record:
            reason = f"{side}: {record.status}: {record.reason}"
            return ("missing" if record.status == "not_installed" else status), reason
    return None


def _in_turns(a: list[Record], b: list[Record]) -> bool:
    """Whether the i-th processes of both come after all the earlier ones, and so are a turn."""
    if [record.replicate for record in a] != [record.replicate for record in b]:
        return False
    places = [[record.position for record in pair] for pair in zip(a, b, strict=True)]
    if any(place is None for pair in places for place in pair):
        return False
    spans = [(min(pair), max(pair)) for pair in places]  # pyright: ignore[reportArgumentType]
    return all(before[1] < after[0] for before, after in pairwise(spans))


def _histories(rows: Rows, by: str) -> dict[str, list[float]]:
    """By cell, how it moved from each earlier environment on this machine (a commit, say) to the next."""
    here = rows.environment
    series: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in rows.records:
        there = rows.environments.get(record.environment)
        if _timed(record) and here and there and there.key != here.key and there.machine == here.machine:
            series[_key(record, False)][there.key].append(of_calls(record.samples_s, by))
    return {key: _steps([statistics.median(values) for values in found.values()]) for key, found in series.items()}


def _steps(figures: Sequence[float]) -> list[float]:
    return [math.exp(math.log(after) - math.log(before)) for before, after in pairwise(figures)]
