"""Figures over what was swept: a line for each layer type along an axis, and heat maps over pairs of axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from studies.sweep.metrics import IN_WORDS, LOGARITHMIC, SMALLER_IS_BETTER, Metric
from studies.sweep.store import Result
from studies.sweep.table import swept, text, values

SINGULAR = "#d0d7de"
COLUMNS = 4
STYLES = ("-", "--", ":")
BANDS = 6
"""Layer types in a figure up to which each line has its band: more of them hide each other."""


def numeric_axes(results: Sequence[Result]) -> list[str]:
    """Those swept whose values are numbers; seeds are repetitions, and no axis."""
    return [axis for axis in swept(results) if axis != "seed" and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values(results, axis))]


def pairs(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """(x, y): pairs of swept axes that some points vary together; a layer type is y."""
    for y, x in combinations([axis for axis in swept(results) if axis != "seed"], 2):
        if y == "layer":
            if len({r.row["layer"] for r in results if r.row[x] is not None}) > 1:
                yield x, y
        elif any(_varies(_of(results, layer), x, y) for layer in values(results, "layer")):
            yield x, y


def lines(results: Sequence[Result], axis: str, metric: Metric) -> Figure:
    """The metric's median over all else along an axis, one line a layer type; for few, a band from least to largest.

    A line has gaps where the median kernel is singular to its precision.
    """
    figure = Figure(figsize=(4.1, 3.6), layout="constrained")
    axes = figure.subplots()
    layers = [layer for layer in values(results, "layer") if len(values(_of(results, layer), axis)) > 1]
    for i, layer in enumerate(layers):
        some = _of(results, layer)
        places = values(some, axis)
        columns = [_numbers([r for r in some if r.row[axis] == place], metric) for place in places]
        middle = [_finite(float(np.median(column))) if column else math.nan for column in columns]
        axes.plot(places, middle, STYLES[i // 10 % len(STYLES)], color=f"C{i % 10}", marker=".", label=layer)
        if len(layers) <= BANDS and any(len(column) > 1 for column in columns):
            low, high = ([_finite(end(column, default=math.nan)) for column in columns] for end in (min, max))
            axes.fill_between(places, low, high, color=f"C{i % 10}", alpha=0.15, linewidth=0)
    finite = [value for line in axes.lines for value in np.asarray(line.get_ydata()) if np.isfinite(value)]
    if not finite:
        axes.text(0.5, 0.5, "singular to the kernel's precision everywhere", transform=axes.transAxes, ha="center")
        axes.set_xticks([])
        axes.set_yticks([])
    elif metric in LOGARITHMIC:
        axes.set_yscale("log")
    axes.set_xlabel(axis)
    axes.set_ylabel(IN_WORDS[metric])
    axes.tick_params(labelsize=8)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=7)
    return figure


def heat_maps(results: Sequence[Result], x: str, y: str, metric: Metric) -> Figure:
    """The metric's median over all else, one map for each layer type that varies both axes, or one of layer types.

    The best entry has a cross; grey is singular to the kernel's precision, white was not asked for or failed.
    """
    results = [result for result in results if result.row[x] is not None]
    layers = [""] if y == "layer" else [layer for layer in values(results, "layer")
                                        if _varies(_of(results, layer), x, y)]
    grids = {layer: _grid(_of(results, layer), x, y, metric) for layer in layers}
    n_columns = min(COLUMNS, len(layers))
    n_rows = math.ceil(len(layers) / n_columns)
    height = 0.3 * len(values(results, y)) + 1.3 if y == "layer" else 2.6
    figure = Figure(figsize=(4.1 if n_columns == 1 else 2.7 * n_columns + 1, height * n_rows), layout="constrained")
    norm = _norm(list(grids.values()), metric)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for panel, layer in zip(panels, layers, strict=False):
        _draw(panel, grids[layer], norm, x, y, _of(results, layer), SMALLER_IS_BETTER[metric])
        panel.set_title(layer, fontsize=10)
    for panel in panels[len(layers):]:
        panel.set_axis_off()
    figure.colorbar(panels[0].images[-1], ax=list(panels)).set_label(IN_WORDS[metric], fontsize=8)
    return figure


def _draw(axes: Axes, grid: np.ndarray, norm: Normalize, x: str, y: str, results: Sequence[Result],
          smaller: bool) -> None:
    axes.set_facecolor("white")
    axes.imshow(np.where(np.isinf(grid), 1.0, np.nan), cmap=ListedColormap([SINGULAR]), aspect="auto",
                interpolation="nearest")
    finite = np.where(np.isfinite(grid), grid, np.nan)
    axes.imshow(finite, norm=norm, cmap="viridis_r" if smaller else "viridis", aspect="auto",
                interpolation="nearest")
    if np.isfinite(grid).any():
        best = np.nanargmin(finite) if smaller else np.nanargmax(finite)
        row, column = np.unravel_index(best, grid.shape)
        axes.plot(column, row, "x", color="#d1242f", markersize=7, markeredgewidth=2)
    for name, places, set_ticks in ((x, values(results, x), axes.set_xticks), (y, values(results, y), axes.set_yticks)):
        step = math.ceil(len(places) / 9) if name != "layer" else 1
        set_ticks(range(0, len(places), step), [text(place) for place in places[::step]], fontsize=8)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel("" if y == "layer" else y, fontsize=9)


def _grid(results: Sequence[Result], x: str, y: str, metric: Metric) -> np.ndarray:
    """(rows, columns): NaN where there is no point."""
    def entry(row: Any, column: Any) -> float:
        found = _numbers([r for r in results if r.row[x] == column and r.row[y] == row], metric)
        return float(np.median(found)) if len(found) else math.nan

    return np.array([[entry(row, column) for column in values(results, x)] for row in values(results, y)])


def _numbers(results: Sequence[Result], metric: Metric) -> list[float]:
    return [result.numbers[metric] for result in results if result.status == "ok"]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _of(results: Sequence[Result], layer: str) -> list[Result]:
    return [result for result in results if layer in ("", result.row["layer"])]


def _varies(results: Sequence[Result], x: str, y: str) -> bool:
    return len(values(results, x)) > 1 and len(values(results, y)) > 1


def _norm(grids: Sequence[np.ndarray], metric: Metric) -> Normalize:
    every = np.concatenate([grid[np.isfinite(grid)].ravel() for grid in grids])
    low, high = (float(every.min()), float(every.max())) if len(every) else (1.0, 2.0)
    return LogNorm(low, high) if metric in LOGARITHMIC and low > 0 else Normalize(low, high)
