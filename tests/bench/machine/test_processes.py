"""The processes below a process: they are found, their memory is counted, and they are ended wherever they went."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.machine import memory, processes

MIB = 2**20
HELD = 64 * MIB

pytestmark = pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(),
                                reason="this kernel does not list the children of a thread")

HOLDING = f"""
import sys
block = bytearray({HELD}); block[::4096] = b'x' * len(block[::4096]); {{before}}
print(flush=True); sys.stdin.read()
"""


@pytest.fixture
def started() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child holds 64 MiB, and held twice as much before."""
    program = HOLDING.format(before="more = block * 2; del more")
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # of the grandchild, which holds its memory now
        yield process
        process.kill()


def test_memory_of_those_below_is_counted_at_its_peak(started: subprocess.Popen[bytes]) -> None:
    below = processes.below(started.pid)
    assert len(below) == 1
    assert set(below) < set(processes.below(os.getpid()))
    assert started.pid not in processes.below(os.getpid(), but=[started.pid])
    assert 3 * HELD < memory.of_others(below) < 3 * HELD + 16 * MIB
    assert memory.of_others([started.pid, *below]) < 3 * HELD + 32 * MIB
    assert processes.end_below(started.pid)
    started.wait(timeout=60)
    assert memory.of_others(below) == 0


FORKING = """
import os
from bench.machine import memory
block = b"x" * {held}
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.read(reading, 1)
    os._exit(block[0] - ord("x"))
print(memory.of_others([child]))
os.write(writing, b"x")
os.waitpid(child, 0)
"""


def test_of_a_forked_process_only_what_it_has_written_counts() -> None:
    forking = [sys.executable, "-c", FORKING.format(held=HELD)]  # where no framework has threads
    assert int(subprocess.run(forking, capture_output=True, check=True).stdout) < HELD / 4


def test_those_with_a_variable_are_ended_and_no_others() -> None:
    sleeping = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    marked, other = (subprocess.Popen(sleeping, stdout=subprocess.PIPE, env={**os.environ, "NTK_BENCH_TEST": value})
                     for value in (f"{os.getpid()}", f"{os.getpid()}0"))
    for process in (marked, other):
        assert process.stdout is not None
        process.stdout.readline()
    assert processes.end_marked("NTK_BENCH_TEST", f"{os.getpid()}")
    assert not processes.lives(marked.pid)
    assert processes.lives(other.pid)
    for process in (marked, other):
        process.kill()
        process.communicate()


def test_a_process_may_end_while_its_children_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Path, pattern: str) -> Iterator[Path]:
        yield Path("/proc/0/task/0/children")
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "glob", gone)
    assert processes.below(os.getpid()) == []
    assert processes.at_work(os.getpid()) == set()
