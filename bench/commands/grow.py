"""How one kernel of the engines grows with one size: ``python -m bench.commands.grow``.

Of the cases of the profile `scale`, which holds each kernel against the truth; here each engine computes them in a
process of its own, on one thread, and seconds are the processor's: the least of three calls after the first. Peak
memory is what the process holds beyond what it held before the set-up. Writes bench/results/scale.json.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import impls
from bench.cells import scale
from bench.commands import fresh
from bench.machine.threads import pin
from bench.records.environment import describe_environment
from impls.frameworks.arrays import block_until_ready
from reference import Request

RESULTS = Path(__file__).parents[1] / "results" / "scale.json"
METHODS = ("structured_torch", "structured_jax")
CALLS = 3


def main() -> None:
    rows = list[dict[str, Any]]()
    context = multiprocessing.get_context("spawn")
    for method in METHODS:
        for what, sizes in scale.SIZES.items():
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_measure, args=(what, method, sender))
            process.start()
            sender.close()
            for size in sizes:
                seconds, peak = receiver.recv()
                rows.append({"grows": what, "size": size, "method": method, "seconds": seconds, "peak_bytes": peak})
                print(rows[-1], flush=True)
            process.join()
            found = {"environment": asdict(describe_environment()), "rows": rows}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _measure(what: str, name: str, sender: Any) -> None:
    """All sizes, from the smallest on: that one twice, so that what is loaded and set up once is there."""
    pin(1)
    method, cases = impls.load(name), {source.name: source for source in scale.CASES}
    smallest = scale.SIZES[what][0]
    for number, size in enumerate((smallest, *scale.SIZES[what])):
        case = cases[scale.name(what, size)].build()
        request = Request(scale.OUTPUTS.get(case.name, ("full",))[0])  # pyright: ignore[reportArgumentType]
        before = fresh.resident()
        compute = method.prepare(case, request)
        block_until_ready(compute())
        seconds = min(_seconds(compute) for _ in range(CALLS))
        if number:
            sender.send((seconds, fresh.peak(before)))


def _seconds(compute: Any) -> float:
    begin = time.process_time()
    block_until_ready(compute())
    return time.process_time() - begin


if __name__ == "__main__":
    main()
