"""The load beside which measurements are tried."""

from __future__ import annotations

from bench.machine.load import load
from bench.machine.threads import cores


def test_a_load_ends_with_the_measurement() -> None:
    with load() as processes:
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)
    assert len(processes) == len(cores())
