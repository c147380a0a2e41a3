"""What the harness costs beside a method: ``python -m tests.bench.running.overhead [METHOD …]``.

For each replicate the wall-clock time from its start until its row could be written, less what the method took itself
(set-up, first call, timed calls), and the same in seconds of the processors, which other work on the machine does not
lengthen. Replicates of the methods take turns; printed are medians over them.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.cells.data import digits
from bench.cells.profiles import PROFILES, cases_of
from bench.records.record import Cell, Send
from bench.running.measure import Job, measure
from bench.running.pool import Pool
from bench.running.runner import PREPARATION, modules_of
from bench.truth.truth import find_truth

METHODS = ("explicit_mlp", "structured_torch", "structured_jax")
N_REPLICATES = 7
STEADY_S = 0.1


def measured(send: Send, job: Job) -> dict[str, Any]:
    """`measure`, with the processors' seconds that the process used in all, and in what is the method's own."""
    own_s, last, phase = 0.0, time.process_time(), ""

    def spy(following: str, told: dict[str, Any]) -> None:
        nonlocal own_s, last, phase
        now = time.process_time()
        own_s += now - last if phase in ("set-up", "first call", "steady state") else 0.0
        last, phase = now, following
        send(following, told)

    answer = measure(spy, job)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"status": answer["status"], "noticed": answer.get("noticed", ""),
            "beside_s": used.ru_utime + used.ru_stime - own_s}


def main(methods: Sequence[str]) -> None:
    (source,) = cases_of(replace(PROFILES["quick"], widths=(64,), channels=(), n_outputs=(10,)), digits().flattened())
    pool = Pool(modules_of(methods), 1, "cpu")
    truth = pool.run(PREPARATION, find_truth, source, ["full"], ["float32"], 0).answer
    found: dict[str, list[tuple[float, float, float]]] = {method: [] for method in methods}
    for _ in range(N_REPLICATES):
        for method in methods:
            found[method].append(_one(pool, Job(Cell(method, source.name), source, truth, None, STEADY_S, 1)))
    print(f"{'method':40}{'its own':>12}{'beside':>12}{'of processors':>16}   (seconds a replicate)")
    for method, some in found.items():
        own_s, beside_s, used_s = (statistics.median(each) for each in zip(*some, strict=True))
        print(f"{method:40}{own_s:12.3f}{beside_s:12.3f}{used_s:16.3f}")


def _one(pool: Pool, job: Job) -> tuple[float, float, float]:
    begin = time.perf_counter()
    outcome = pool.run(PREPARATION, measured, job)
    passed_s = time.perf_counter() - begin
    assert outcome.status == "ok", outcome.reason
    told = outcome.measured
    own_s = told["setup_s"] + told["first_call_s"] + sum(told["samples_s"])
    return own_s, passed_s - own_s, outcome.answer["beside_s"]


if __name__ == "__main__":
    main(sys.argv[1:] or METHODS)
