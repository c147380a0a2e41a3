"""pytest-benchmark over the same cells: ``nox -s microbench`` saves its figures as JSON under .benchmarks/."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import impls
from bench.suites.cells import PROFILE, THREADS, Skip, prepare
from bench.truth.check import check


@pytest.mark.parametrize("width", PROFILE.widths)
@pytest.mark.parametrize("method", impls.names())
def test_kernel(benchmark: BenchmarkFixture, method: str, width: int) -> None:
    """Steady state of one kernel; a time whose kernel is wrong is a failure, not a figure."""
    try:
        prepared = prepare(method, width)
    except Skip as reason:
        pytest.skip(str(reason))
    benchmark.group = f"digits, width {width}, {THREADS} thread"
    benchmark(prepared.call)
    verdict = check(prepared.kernel(), prepared.truth, prepared.cell, prepared.kind, n_checks=len(impls.names()))
    benchmark.extra_info |= {"error": verdict["error"], "checked_against": verdict["checked_against"]}
    assert verdict["status"] == "ok", verdict["reason"]
