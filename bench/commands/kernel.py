"""``python -m bench kernel``: a kernel into a folder, tile by tile."""

from __future__ import annotations

import sys

from rich.console import Console

from bench.cells.kernels import KernelOptions
from impls.tiles.progress import bar, lines
from impls.tiles.run import run
from impls.tiles.store import Store

STOPPED, LOST = 130, 3


def kernel(options: KernelOptions, console: Console) -> int:
    """Compute it, or go on with it. Raises `InputError` for what cannot be used."""
    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    watch, lost = bar if console.is_terminal else lines(say), list[str]()
    try:
        if options.cluster is not None:
            from bench.cluster.tiles import kernel as by_cluster

            found, lost = by_cluster(options, watch=watch, say=say)
        else:
            found = run(options.job(), options.out, check=options.check, say=say, watch=watch)
    except KeyboardInterrupt:
        print(f"stopped: {_state(options)}", file=sys.stderr)
        return STOPPED
    say(repr(found))
    for line in lost:
        print(line, file=sys.stderr)
    return LOST if lost else 0


def _state(options: KernelOptions) -> str:
    if not options.out.exists():
        return "before the first tile was there"
    store = Store.open(options.out)
    n, missing = len(store.plan.tiles), len(store.missing())
    return f"{n - missing} of {n} tiles are in {options.out}; the same command goes on from there"
