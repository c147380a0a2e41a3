"""What a second worker brings: ``python -m bench.commands.workers``.

The trace of an MLP of width 1024 for 4096 examples on disk, by one and by two workers of a local Dask cluster, each on
a core of its own, in turn, a fresh process each time. Counted are the tiles after the first of each worker, which
traces and plans, over the time between. The efficiency is the ratio of the medians over the number of workers. Writes
bench/results/workers.json.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cells import engines
from bench.commands import fresh
from bench.machine.threads import cores
from bench.records.environment import describe_environment

RESULTS = Path(__file__).parents[1] / "results" / "workers.json"
WORKERS, TURNS = (1, 2), 2
CASE, TILE = engines.MANY, 512


def main() -> None:
    turns: dict[int, list[dict[str, float]]] = {workers: [] for workers in WORKERS}
    for _ in range(TURNS):
        for workers in WORKERS:
            turns[workers].append(fresh.measured(_measure, workers))
            print(workers, turns[workers][-1], flush=True)
    rates = {workers: statistics.median(turn["tiles"] / turn["wall_s"] for turn in some)
             for workers, some in turns.items()}
    found = {"machine": describe_environment().machine, "case": CASE, "tile": TILE,
             "turns": {str(workers): some for workers, some in turns.items()},
             "efficiency": {str(workers): rates[workers] / (workers * rates[1]) for workers in WORKERS}}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _measure(workers: int, sender: Any) -> None:
    from bench.cells.kernels import KernelOptions
    from bench.cluster.tiles import kernel

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[:workers])
    arrived: list[float] = []

    @contextmanager
    def watch(total: int, done: int) -> Iterator[Any]:
        yield lambda pairs: arrived.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        options = KernelOptions(Path(folder, "K.zarr"), case=CASE, tile=TILE, outputs="trace", check=False,
                                cluster=f"local:{workers}")
        kernel(options, watch=watch, say=lambda _: None)
    sender.send({"tiles": len(arrived) - workers, "wall_s": arrived[-1] - arrived[workers - 1]})


if __name__ == "__main__":
    main()
