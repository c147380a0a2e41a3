"""pytest-benchmark over the same cells: `saved` runs it, ``nox -s microbench``."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import pytest

from .cells import Cell, Skip, prepare, selected

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("cell", selected().cells(), ids=lambda cell: "-".join(map(str, astuple(cell))))
def test_kernel(benchmark: BenchmarkFixture, cell: Cell) -> None:
    """Steady state of one kernel; a time whose kernel is wrong is a failure, not a figure."""
    try:
        prepared = prepare(cell)
    except Skip as reason:
        pytest.skip(str(reason))
    benchmark.group = f"width {cell.width}, {cell.batch} examples, {cell.outputs}, {cell.dtype}, {cell.device}"
    benchmark(prepared.call)
    benchmark.extra_info["error"] = prepared.error
