"""What others take from a process is told, and what its own threads take from each other is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.machine.meter import Meter
from bench.machine.scheduling import Disturbance, Moment, lost_seconds
from bench.machine.threads import cores

linux = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel keeps no such statistics")


def _moment(clock_s: float = 0.0, ran_s: float = 0.0, waited: tuple[float, ...] = (0.0, 0.0),
            stolen_s: float = 0.0) -> Moment:
    return Moment(clock_s, ran_s, {str(thread): seconds for thread, seconds in enumerate(waited)}, stolen_s, 0)


@pytest.mark.parametrize(("n_cores", "ended", "lost_s"), [
    (1, _moment(10, 10), 0),                            # all the core's time is its own
    (1, _moment(10, 4, (6.0,)), 6),                     # one thread, which waits
    (2, _moment(10, 8, (2.0,)), 2),                     # on one of two cores: it waits all the same
    (2, _moment(10, 16, (2.0, 2.0)), 2),                # both threads wait at a time
    (1, _moment(10, 10, (5.0, 5.0)), 0),                # two threads on one core wait for each other
    (1, _moment(10, 3), 0),                             # it slept: it was not ready
    (1, _moment(10, 10, stolen_s=4.0), 4),              # to the guest's kernel, stolen time is its own
    (2, _moment(10, 5, (0.0, 0.0, 3.0)), 3),            # a thread that was born on the way
])
def test_what_is_lost(n_cores: int, ended: Moment, lost_s: float) -> None:
    assert lost_seconds(_moment(), ended, n_cores) == pytest.approx(lost_s)


_BESIDE = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
until = time.monotonic() + 30
print(flush=True)
while time.monotonic() < until and os.getppid() == int(sys.argv[2]): pass
"""
_WAITS = """
import json, os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
from bench.machine.meter import Meter
meter = Meter()
with meter:
    until = time.process_time() + 0.3
    while time.process_time() < until: pass
print(json.dumps(meter.told()))
"""


@linux
def test_a_process_beside_it_is_seen() -> None:
    core = str(cores()[-1])
    arguments = [sys.executable, "-c", _BESIDE, core, str(os.getpid())]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as beside:
        assert beside.stdout is not None
        beside.stdout.readline()
        answer = subprocess.run([sys.executable, "-c", _WAITS, core], capture_output=True, check=True, timeout=60)
        beside.kill()
    told = json.loads(answer.stdout)
    assert told["disturbance"] > 0.2
    assert told["switches"] > 0


@linux
def test_sleeping_is_no_disturbance() -> None:
    disturbance = Disturbance()
    disturbance.begin()
    time.sleep(0.2)
    disturbance.end()
    assert disturbance.share is not None
    assert disturbance.share < 0.5


def test_nothing_is_told_of_no_calls() -> None:
    assert Meter().told() == {"disturbance": None, "switches": None, "instructions": None}
