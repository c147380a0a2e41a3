"""Two runs in one folder, and a run that is killed: nothing lives on, nothing finished is lost or measured again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from bench.records.store import Store
from bench.running.lock import Lock
from bench.running.runner import LOCK
from tests import ROOT
from tests.bench.command import (
    CASE,
    assert_usage_error,
    bench,
    choosing,
    command,
    environment,
    write_files,
)

N_KILLS = int(os.environ.get("NTK_BENCH_KILLS", "3"))
"""Random moments; more of them by the variable."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_files(folder)
    return folder


def _arguments(files: Path, out: Path) -> tuple[str | Path, ...]:
    return ("run", "--profile", "fixtures", "--cases", CASE, *choosing(files, "GOOD", "SLOW", "HANGING"),
            "--time-limit", "1", "--out", out)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_second_run_in_a_folder_is_refused(files: Path, tmp_path: Path) -> None:
    Store.create(tmp_path)
    held = Lock(tmp_path / LOCK)
    try:
        assert_usage_error(bench(*_arguments(files, tmp_path)), "another run is at work", "--out")
    finally:
        held.release()
    Lock(tmp_path / LOCK).release()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes end with their parents on Linux")
def test_a_killed_run_leaves_no_process_and_no_folder_and_goes_on(files: Path, tmp_path: Path) -> None:
    temporary, out = Path(tempfile.mkdtemp()), tmp_path / "out"  # short, as a socket's name has to be
    around = {**environment(), "TMPDIR": str(temporary)}
    written: dict[str, str] = {}
    moments = random.Random(0)
    for _ in range(N_KILLS):
        run = subprocess.Popen(command(_arguments(files, out)), cwd=ROOT, env=around, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.5, 4))  # undisturbed, a run takes about four
        below = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert [process for process in psutil.wait_procs(below, timeout=1)[1] if _lives(process)] == []
        if (out / "results.sqlite").exists() and (out / "results.sqlite").stat().st_size:
            found = {repr(row.cell) + str(row.replicate): row.started_at for row in Store(out).records()}
            assert written.items() <= found.items(), "a finished row is neither lost nor measured again"
            written = found
    done = subprocess.run(command(_arguments(files, out)), cwd=ROOT, env=around, capture_output=True, text=True,
                          timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = {repr(row.cell) + str(row.replicate): row.started_at for row in Store(out).records()}
    assert written.items() <= found.items()
    assert {row.cell.method: row.status for row in Store(out).records()} == {
        "good": "ok", "slow": "ok", "hanging": "timeout"}
    temporary.rmdir()  # nothing is left there
