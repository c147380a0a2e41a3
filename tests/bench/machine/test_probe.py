"""The probe of the machine, and the counter of instructions: what they give is used as it is said to be."""

from __future__ import annotations

import os

import pytest

from bench.machine.instructions import Counter, missing
from bench.machine.probe import Probe, Reading
from bench.machine.threads import cores


def test_a_machine_is_as_slow_as_what_has_become_slower_the_most() -> None:
    best = Reading(1.0, 2.0, 0.5, 1.0)
    assert Reading(1.0, 1.0, 1.0, 1.0).slower_than(best) == 2.0
    assert Reading(0.5, 3.0, 0.5, 1.0).slower_than(best) == 3.0


def test_the_best_of_readings_has_the_quickest_pieces_of_all() -> None:
    first, second = Reading(1.0, 2.0, 0.5, 1.0), Reading(2.0, 1.5, 0.4, 1.2)
    assert first.best_of(second) == second.best_of(first) == Reading(1.0, 1.5, 0.4, 1.0)
    assert first.best_of(None) == first


@pytest.mark.parametrize("threads", [1, len(cores())])
def test_a_reading_leaves_the_process_where_it_was(threads: int) -> None:
    before = cores()
    reading = Probe(threads).take()
    assert cores() == before
    assert 0 < reading.best_product_s <= reading.product_s
    assert 0 < reading.best_copy_s <= reading.copy_s
    assert reading.slower_than(reading) >= 1.0


def test_instructions_are_counted_or_said_to_be_missing() -> None:
    if reason := missing():
        with pytest.raises(OSError, match="perf_event_open"):
            Counter()
        assert "perf_event_open" in reason
        return
    counter = Counter()
    try:
        idle = counter.read()
        sum(range(10**6))
        assert counter.read() - idle > 10**6, "every number takes an instruction at least"
    finally:
        counter.close()


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/dev/fd"))
    missing()
    assert len(os.listdir("/dev/fd")) == before
