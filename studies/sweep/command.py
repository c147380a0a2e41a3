"""``python -m studies sweep``: what is asked for is listed, computed where it is not there yet, and shown."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from rich.console import Console

from studies.sweep.options import Options
from studies.sweep.progress import Progress
from studies.sweep.store import Result, Store

__all__ = ["Options", "compute_all", "run", "sweep"]

PACKAGES = ("jax", "jaxlib", "numpy", "scipy")
FAILED = 3

# What the numbers of a point depend on.
SOURCES = ("networks/*.py", "sweep/compute.py", "sweep/metrics.py", "matrix.py", "spectrum.py", "eigenvalues.py",
           "fourier.py")


def run(options: Options) -> int:
    """The exit code: 0, or 3 where a point is wrong or failed."""
    console = Console()
    results = sweep(options, console)
    from studies.sweep.table import best_table

    if any(result.status == "ok" for result in results):
        console.print(best_table(results, options.metric))
    for result in results:
        if result.reason:
            console.print(f"{result.status}: {result.row['layer']}, {result.key}: {result.reason}", markup=False,
                          soft_wrap=True)
    console.print(f"table: {options.out / 'table.csv'}\npage: {options.out / 'report.html'}", highlight=False,
                  soft_wrap=True)
    return 0 if all(result.status == "ok" for result in results) else FAILED


def sweep(options: Options, console: Console | None = None) -> list[Result]:
    """`compute_all`, and table.csv and report.html of it in `options.out`."""
    from studies.sweep.page import render
    from studies.sweep.table import write_csv

    results, store = compute_all(options, console), Store(options.out)
    write_csv(options.out / "table.csv", results)
    store.put(options.out / "report.html", lambda path: path.write_text(render(options, results, store, made_with()),
                                                                        encoding="utf-8"))
    return results


def compute_all(options: Options, console: Console | None = None) -> list[Result]:
    """Compute what is not in `options.out` yet, and give all results, in the order of the points.

    What failed before is tried again. Rows of other versions of the packages, or of this project's sources, stay where
    they are and do not count. With more than one process, a script that calls this needs the guard
    ``if __name__ == "__main__":`` (as for all of `multiprocessing`).
    """
    from studies.sweep.points import points_of
    from studies.sweep.work import do_all

    versions = made_with()
    points = {point.key(versions): point for point in points_of(options)}
    keys, store = list(points), Store(options.out)
    store.sweep_up()
    there = store.results(keys)
    store.forget([key for key, result in there.items() if result.status == "failed"])
    left = [(key, points[key]) for key in keys if key not in there or there[key].status == "failed"]
    if left:
        with Progress(console or Console(quiet=True), len(keys), len(keys) - len(left)) as progress:
            do_all(left, options.out, processes=options.processes, figures=options.figures,
                   tell=lambda: progress.update(store.count(keys)))
    found = store.results(keys)
    return [found[key] for key in keys]


def made_with() -> str:
    """Versions of the packages, and a digest of the sources, that numbers depend on."""
    folder = Path(__file__).parents[1]
    files = sorted(path for pattern in SOURCES for path in folder.glob(pattern))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    return ", ".join([*(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES), f"sources {digest}"])
