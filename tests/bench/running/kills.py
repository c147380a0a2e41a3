"""A run that is killed at random moments, again and again: ``python -m tests.bench.running.kills N [SEED]``.

Methods that are quick, slow, hang, and leave processes in sessions of their own. Moments are drawn over the length of a
whole run, in its start as well. After each kill: no process lives on, every finished row is there and is measured no
more, the next start removes the temporary folder of the last. Where a run was done before its moment came, its folder
is looked at as a whole, and another one is begun. Prints a line for each kill, and what they came to.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.records.store import Store
from tests import ROOT
from tests.bench.command import CASE, choosing, command, environment, write_files

LONGEST_S = 30.0
"""For which is waited until the last process has ended: on a machine that is busy for long."""
EXPECTED = {"good": "ok", "slow": "ok", "hanging": "timeout", "daemons": "ok"}

DAEMONS = '''
class Daemons(Proved):
    def prepare(self, case, request):
        def call():
            child = os.fork()
            if child == 0:
                os.setsid()
                if os.fork() == 0: time.sleep(600)
                os._exit(0)
            os.waitpid(child, 0)
            time.sleep(0.05)
            return self.kernel(case, request)
        return call

DAEMONS = Daemons("daemons")
'''


@dataclass(frozen=True)
class Kill:
    after_s: float
    n_processes: int
    """That there were."""
    rows: int
    """Finished by then."""
    ended_s: float | None
    """Until the last process had ended; None where one lived on."""
    lost: list[str]
    """Rows of before that are gone, or were measured anew."""
    folders: int
    """Temporary ones, that of this run and those of earlier ones."""


def kills(n: int, seed: int, folder: Path, length_s: float | None = None) -> Iterator[Kill]:
    """`n` of them, within `length_s`, else the time that a whole run takes. Raises `AssertionError` where a run that
    was let go to its end is not whole."""
    write_files(folder)
    with (folder / "methods.py").open("a") as file:
        file.write(DAEMONS)
    temporary = Path(tempfile.mkdtemp())  # short, as a socket's name has to be
    if length_s is None:
        begin = time.monotonic()
        _whole(folder, temporary, folder / "first")
        length_s = time.monotonic() - begin
    moments = random.Random(seed)
    at, written = 0, dict[str, str]()
    while n:
        out = folder / f"out{at}"
        run = _start(folder, temporary, out)
        after_s = moments.uniform(0, length_s)
        try:
            run.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            yield (kill := _kill(run, temporary, out, after_s, written))
            written = rows_of(out)
            n -= kill.n_processes > 0
        else:
            _whole(folder, temporary, out)
            at, written = at + 1, {}
    _whole(folder, temporary, folder / f"out{at}")
    assert not list(temporary.iterdir()), "the last start has removed every folder, and its own at its end"
    shutil.rmtree(temporary)


def rows_of(out: Path) -> dict[str, str]:
    """Row → when it was measured."""
    if not (out / "results.sqlite").exists() or not (out / "results.sqlite").stat().st_size:
        return {}
    return {f"{row.cell.method} {row.replicate}": row.started_at for row in Store(out).records()}


def _arguments(folder: Path, out: Path) -> tuple[str | Path, ...]:
    return ("run", "--profile", "fixtures", "--cases", CASE, *choosing(folder, *map(str.upper, EXPECTED)),
            "--time-limit", "4", "--replicates", "1", "--again", "0", "--out", out)


def _start(folder: Path, temporary: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(_arguments(folder, out)), cwd=ROOT, env=environment() | {"TMPDIR": str(temporary)},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _whole(folder: Path, temporary: Path, out: Path) -> None:
    """Run it to its end: every row is there, nothing lives on."""
    before = rows_of(out)
    code = _start(folder, temporary, out).wait(timeout=600)
    assert code == 0, code
    found = Store(out).records()
    assert before.items() <= rows_of(out).items()
    assert {row.cell.method: row.status for row in found} == EXPECTED, [(row.cell.method, row.reason) for row in found]
    assert _ended_s(temporary) is not None


def _kill(run: subprocess.Popen[bytes], temporary: Path, out: Path, after_s: float, written: dict[str, str]) -> Kill:
    there = len(_alive(temporary))
    run.send_signal(signal.SIGKILL)
    ended_s = _ended_s(temporary)
    run.wait()
    now = rows_of(out)
    lost = [row for row, moment in written.items() if now.get(row) != moment]
    return Kill(after_s, there, len(now), ended_s, lost, len(list(temporary.glob("ntk-bench-*"))))


def _ended_s(temporary: Path) -> float | None:
    """Seconds from now until the last process has ended; None where one lives on."""
    begin = time.monotonic()
    while _alive(temporary):
        if time.monotonic() - begin > LONGEST_S:
            return None
        time.sleep(0.02)
    return time.monotonic() - begin


def _alive(temporary: Path) -> list[int]:
    """Processes that were started with this folder for their temporary files, wherever they are."""
    return [process.pid for process in psutil.process_iter() if _is_of(process, str(temporary))]


def _is_of(process: psutil.Process, temporary: str) -> bool:
    try:
        return process.environ().get("TMPDIR") == temporary and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def main(n: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found: list[Kill] = []
        for kill in kills(n, seed, Path(folder)):
            found.append(kill)
            print(kill, flush=True)
    lived_on = sum(kill.ended_s is None for kill in found)
    longest = max((kill.ended_s for kill in found if kill.ended_s is not None), default=0.0)
    most, load = max(kill.n_processes for kill in found), os.getloadavg()[0]
    print(f"{len(found)} kills, of 1 to {most} processes, at a load of {load:.0f}: {lived_on} with a process that "
          f"lived on, the last one ended after {longest:.2f} s at the latest, "
          f"{sum(kill.ended_s is not None and kill.ended_s > 1 for kill in found)} took more than a second; "
          f"{sum(bool(kill.lost) for kill in found)} with a row lost or measured again; at most "
          f"{max(kill.folders for kill in found)} temporary folders")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
