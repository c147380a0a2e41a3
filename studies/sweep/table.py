"""The results of a sweep as one table: a CSV file, the best of each layer type, what was swept."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from studies.sweep.metrics import IN_WORDS, SMALLER_IS_BETTER, Metric
from studies.sweep.points import AXES
from studies.sweep.store import Result

SHOWN: tuple[Metric, ...] = ("condition_number", "effective_rank", "stable_rank", "fourier_high_frequency")
"""Numbers beside a point in short tables."""


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """A row for each point: key, what it is, status, reason, all numbers, seconds."""
    names = list(dict.fromkeys(name for result in results for name in result.numbers))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["key", *AXES, "status", "reason", *names, "seconds"])
        for result in results:
            writer.writerow([result.key, *(result.row[axis] for axis in AXES), result.status, result.reason,
                             *(result.numbers.get(name) for name in names), result.seconds])


def best_by_layer(results: Sequence[Result], metric: Metric) -> list[Result]:
    """The best right point of each layer type, the best type first.

    Among equals, such as kernels that are all singular to their precision, it is that of the larger numerical, then
    effective, rank.
    """
    def order(result: Result) -> tuple[float, ...]:
        value = result.numbers[metric]
        return (value if SMALLER_IS_BETTER[metric] else -value, -result.numbers["numerical_rank"],
                -result.numbers["effective_rank"])

    right = [result for result in results if result.status == "ok"]
    layers = dict.fromkeys(result.row["layer"] for result in right)
    return sorted((min((r for r in right if r.row["layer"] == layer), key=order) for layer in layers), key=order)


def swept(results: Sequence[Result]) -> list[str]:
    """The axes along which there are at least two values, of one layer type; and "layer", if there are two."""
    by_layer = [[result for result in results if result.row["layer"] == layer] for layer in values(results, "layer")]
    return [axis for axis in AXES if (len(by_layer) > 1 if axis == "layer"
                                      else any(len(values(some, axis)) > 1 for some in by_layer))]


def values(results: Sequence[Result], axis: str) -> list[Any]:
    """Those of an axis that there are, numbers in order; not those of points that do not have it."""
    found = list(dict.fromkeys(result.row[axis] for result in results if result.row[axis] is not None))
    return found if any(isinstance(value, str) for value in found) else sorted(found)


def text(value: Any) -> str:
    """A number or name as it is shown; nothing for what a point does not have."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return "singular" if math.isinf(value) else f"{value:.4g}"


def best_table(results: Sequence[Result], metric: Metric) -> Table:
    """The best of each layer type for the terminal."""
    shown = list(dict.fromkeys((metric, "effective_rank", "numerical_rank")))
    table = Table("layer", "best at", title=f"Best {IN_WORDS[metric]} by layer type")
    for name in shown:
        table.add_column(IN_WORDS.get(name, "numerical rank"), justify="right")
    for result in best_by_layer(results, metric):
        table.add_row(result.row["layer"], where(result, results), *(text(result.numbers[name]) for name in shown))
    return table


def where(result: Result, results: Sequence[Result]) -> str:
    """A point's values of what was swept, but for the layer type: "w0 3, seed 1"."""
    return ", ".join(f"{axis} {text(result.row[axis])}" for axis in swept(results)
                     if axis != "layer" and result.row[axis] is not None)
