"""The page of a sweep: one HTML file that loads nothing; the points' own figures lie beside it."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from studies.figures import save_svg
from studies.sweep import maps
from studies.sweep.metrics import IN_WORDS, SMALLER_IS_BETTER, Metric
from studies.sweep.options import Options
from studies.sweep.store import Result, Store
from studies.sweep.table import SHOWN, best_by_layer, swept, text, where

OTHERS: tuple[Metric, ...] = ("effective_rank", "fourier_high_frequency")
"""Drawn after the metric that was asked for."""

_ASSETS = Path(__file__).parent / "assets"


def render(options: Options, results: Sequence[Result], store: Store, versions: str) -> str:
    """The whole document; the figures of the best points are inside, those of all others linked."""
    right = [result for result in results if result.status == "ok"]
    sections = [("best", "Best by layer type", _best(options, right, store)),
                ("axes", "Along each axis", _lines(options, right)),
                ("pairs", "Over pairs of axes", _pairs(options, right)),
                ("points", "All points", _points(results, store)),
                ("made", "How it was made", _made(options, results, versions))]
    nav = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections)
    body = "".join(f'<section id="{key}"><h2>{title}</h2>{inner}</section>' for key, title, inner in sections)
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Sweep of kernels</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
            f"<style>{_asset('page.css')}</style></head><body><h1>Kernels of coordinate networks</h1>"
            f"<p>{_lead(options, results)}</p><nav>{nav}</nav>{body}"
            f"<script>{_asset('page.js')}</script></body></html>\n")


def _lead(options: Options, results: Sequence[Result]) -> str:
    best = best_by_layer(results, options.metric)
    axes = ", ".join(swept(results)) or "nothing"
    words = f"{len(results)} points over {axes}."
    if best:
        words += (f" The best {IN_WORDS[options.metric]}, {text(best[0].numbers[options.metric])}, is that of "
                  f"{_where(best[0], results)}.")
    if bad := [result for result in results if result.status != "ok"]:
        words += f" {len(bad)} are wrong or failed, and are left out of the figures."
    return html.escape(words)


def _where(result: Result, results: Sequence[Result]) -> str:
    return ", ".join(filter(None, (result.row["layer"], where(result, results))))


def _best(options: Options, results: Sequence[Result], store: Store) -> str:
    if not results:
        return "<p>No point has a right kernel.</p>"
    best = best_by_layer(results, options.metric)
    axes, shown = [a for a in swept(results) if a != "layer"], list(dict.fromkeys((options.metric, *SHOWN)))
    rows = [[result.row["layer"], *(result.row[axis] for axis in axes), *(result.numbers[name] for name in shown)]
            for result in best]
    order = "smallest" if SMALLER_IS_BETTER[options.metric] else "largest"
    figures = "".join(f"<h3>{html.escape(_where(result, results))}</h3>{_picture(store, result)}" for result in best)
    return (f'<p class="soft">By the {order} {IN_WORDS[options.metric]}; among equals by the numerical, then the '
            f"effective rank.</p>{_table(['layer', *axes, *(IN_WORDS[name] for name in shown)], rows)}{figures}")


def _picture(store: Store, result: Result) -> str:
    path = store.figure_path(result.key)
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<div class="wide"><img alt="kernel, spectrum, frequencies" src="data:image/png;base64,{data}"></div>'


def _lines(options: Options, results: Sequence[Result]) -> str:
    axes = maps.numeric_axes(results)
    found = "".join(f"<h3>{axis}</h3><div class=row>{drawn}</div>" for axis in axes
                    for drawn in ["".join(_svg(maps.lines(results, axis, metric)) for metric in _metrics(options))])
    text_of = ("Medians over all else, with a band from least to largest where there are few layer types; gaps are "
               "singular to the kernel's precision.")
    return f'<p class="soft">{text_of}</p>{found}' if found else "<p>No numbers were swept.</p>"


def _pairs(options: Options, results: Sequence[Result]) -> str:
    text_of = ("Medians over all else. A cross marks the best; grey is singular to the kernel's precision, white was "
               "not asked for.")
    found = "".join(f"<h3>{y} × {x}</h3><div class=row>{drawn}</div>" for x, y in maps.pairs(results)
                    for drawn in ["".join(_svg(maps.heat_maps(results, x, y, metric)) for metric in _metrics(options))])
    return f'<p class="soft">{text_of}</p>{found}' if found else "<p>No two keys were swept together.</p>"


def _metrics(options: Options) -> list[Metric]:
    return list(dict.fromkeys((options.metric, *OTHERS)))


def _points(results: Sequence[Result], store: Store) -> str:
    axes = swept(results) or ["layer"]
    shown: list[str] = [*IN_WORDS, "numerical_rank", "check_error", "seconds"]
    rows = [[*(result.row[axis] for axis in axes), result.status,
             *({**result.numbers, "seconds": result.seconds}.get(name) for name in shown), _Link(store, result)]
            for result in results]
    headings = [*axes, "status", *(IN_WORDS.get(name, name.replace("_", " ")) for name in shown), "figure"]
    reasons = "".join(f"<p>{html.escape(f'{_where(r, results)}: {r.reason}')}</p>" for r in results if r.reason)
    return ('<p class="soft">A click on a heading sorts. All numbers of all points: table.csv; kernels with their '
            f"eigenvalues: kernels/.</p>{reasons}{_table(headings, rows)}")


class _Link:
    """A cell that leads to a point's figure."""

    def __init__(self, store: Store, result: Result) -> None:
        self.there, self.key = store.figure_path(result.key).exists(), result.key

    def __str__(self) -> str:
        return f'<a href="figures/{self.key}.png">figure</a>' if self.there else ""


def _made(options: Options, results: Sequence[Result], versions: str) -> str:
    given = {name: str(value) if name == "out" else value for name, value in vars(options).items()}
    seconds = sum(result.seconds for result in results)
    return (f"<p>{seconds:.0f} s of all processes together. {html.escape(versions)}.</p>"
            f"<details><summary>Options</summary><pre>{html.escape(json.dumps(given, indent=1))}</pre></details>")


def _table(headings: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, _Link):
        return f"<td>{value}</td>"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    sortable = f' data-value="{str(float(value)).replace("inf", "Infinity")}"' if number else ""
    return f"<td{sortable}>{html.escape(text(value))}</td>"


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    save_svg(figure, file)
    return file.getvalue()[file.getvalue().index("<svg"):]


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8")
