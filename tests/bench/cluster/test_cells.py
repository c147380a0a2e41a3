"""A run on a local cluster whose workers are killed: all rows are there, none twice, and what kills them is a crash."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from bench.cluster.connection import check_workers, slurm
from bench.records.store import Store, latest
from reference import InputError
from tests import ROOT
from tests.bench.command import CASE, assert_usage_error, bench, command, environment, write_files

DASKS_PORT = 8787
"""Of a scheduler's pages, unless it is told otherwise."""
RIGHT = ("good", "slow", "lucky")

KILLER = '''
import psutil

import reference


class Killer:
    name, framework, kind = "killer", "numpy", "exact"

    def prepare(self, case, request):
        psutil.Process().parents()[1].kill()  # beyond the server of the processes: the worker
        return lambda: reference.expected(case).outputs(request.outputs).astype(request.dtype)

KILLER = Killer()
'''


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    write_files(folder)
    (folder / "killer.py").write_text(KILLER)
    return folder


def arguments(files: Path, out: Path, cluster: str) -> tuple[str | Path, ...]:
    return ("run", "--profile", "fixtures", "--cases", CASE, "--again", "0", "--impl",
            *(f"{files}/methods.py:{name.upper()}" for name in RIGHT), f"{files}/killer.py:KILLER",
            "--methods", *RIGHT, "killer", "--out", out, "--cluster", cluster)


def kill_a_worker(run: subprocess.Popen[str]) -> bool:
    for process in psutil.Process(run.pid).children():
        with suppress(psutil.Error):  # it is over
            if "spawn_main" in " ".join(process.cmdline()):
                process.kill()
                return True
    return False


def started(out: Path) -> dict[str, str]:
    there = (out / "results.sqlite").exists() and (out / "results.sqlite").stat().st_size
    return {row.cell.method: row.started_at for row in Store(out).records()} if there else {}


def wait_until(something: object, run: subprocess.Popen[str]) -> None:
    while not something() and run.poll() is None:  # pyright: ignore
        time.sleep(0.05)


def test_killed_workers_and_a_killed_run_lose_nothing(files: Path, tmp_path: Path) -> None:
    """The run is killed once it has a row, the one that goes on loses workers by a cell, and one by us."""
    quiet = {"cwd": ROOT, "env": environment(), "stdout": subprocess.DEVNULL, "text": True}
    run = subprocess.Popen(command(arguments(files, tmp_path, "local:1")), **quiet, stderr=subprocess.DEVNULL)
    wait_until(lambda: started(tmp_path), run)
    below = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.wait()
    first = started(tmp_path)
    assert first
    assert not psutil.wait_procs(below, timeout=10)[1], "nothing lives on"
    with closing(socket.socket()) as other:
        with suppress(OSError):  # it is taken already
            other.bind(("", DASKS_PORT))
            other.listen()
        run = subprocess.Popen(command(arguments(files, tmp_path, "local:2")), **quiet, stderr=subprocess.PIPE)
        wait_until(lambda: len(started(tmp_path)) > len(first) and kill_a_worker(run), run)
        said = run.communicate(timeout=200)[1]
    assert "already in use" not in said
    assert run.returncode == 3, said
    rows = Store(tmp_path).records()
    assert first.items() <= started(tmp_path).items(), "what was finished is not measured again"
    assert Counter(row.cell.method for row in rows) == dict.fromkeys((*RIGHT, "killer"), 1)
    assert {row.cell.method for row in rows if row.status == "ok"} == {*RIGHT}
    (lost,) = (row for row in rows if row.status == "crash")
    assert "while it was alone in the cluster; it is not tried again" in lost.reason
    assert all(row.node for row in rows)
    assert len(latest(rows)) == len(rows)
    assert {row.environment for row in rows} <= set(Store(tmp_path).environments())


def test_jobs_of_slurm_take_one_cell_at_a_time() -> None:
    dask = pytest.importorskip("dask", reason="the extra cluster is not installed")
    pytest.importorskip("dask_jobqueue", reason="the extra cluster is not installed")
    with dask.config.set({"jobqueue.slurm.cores": 4, "jobqueue.slurm.memory": "8GB",
                          "distributed.scheduler.dashboard.status.task-stream-length": 1}), slurm() as cluster:
        script = cluster.job_script()
    assert "--resources cell=1" in script
    assert "DASK_DISTRIBUTED__WORKER__DAEMON=False" in script


def test_workers_that_would_disturb_each_other_are_refused() -> None:
    one = {"resources": {"cell": 1}, "host": "10.0.0.1"}
    check_workers({"tcp://10.0.0.1:1": one, "tcp://10.0.0.1:2": one}, of_one_machine=True)
    with pytest.raises(InputError, match=r"several workers run on 10\.0\.0\.1, .* --resources cell=1"):
        check_workers({"tcp://10.0.0.1:1": one, "tcp://10.0.0.1:2": one}, of_one_machine=False)
    with pytest.raises(InputError, match="tcp://b:1 have no resource cell=1"):
        check_workers({"tcp://a:1": one, "tcp://b:1": {"resources": {}, "host": "b"}}, of_one_machine=False)


@pytest.mark.parametrize(("name", "said"), [
    ("elsewhere", "none of local:N, slurm:N, tcp://HOST:PORT"), ("local:none", "'none' is no number of workers"),
])
def test_what_is_no_cluster_is_one_line(name: str, said: str, tmp_path: Path) -> None:
    assert_usage_error(bench("run", "--profile", "fixtures", "--cases", "linear", "--methods", "explicit_mlp",
                             "--cluster", name, "--out", tmp_path), said)
