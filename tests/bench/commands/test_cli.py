"""The command line, from outside: statuses, exit codes, interruption, the other commands."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import impls
from bench.commands import cli, listing
from bench.records.store import FILE_NAME, Store, StoreError
from tests.bench.command import CASE, METHODS, ROOT, Done, bench, command, environment, rows, run_methods

# What becomes of a cell

@pytest.fixture(scope="module")
def all_kinds(bench_files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """One run of methods that fail in every way, beside a good one."""
    out = tmp_path_factory.mktemp("out")
    objects = ("GOOD", "DOUBLED", "NOT_FINITE", "CACHED", "UNABLE", "RAISING", "DYING", "HANGING", "LIST", "LIMIT",
               "RANDOM", "LUCKY")
    return run_methods(bench_files, out, *objects, options=("--time-limit", "3")), out


@pytest.mark.parametrize(("method", "status", "reason"), [
    ("good", "ok", ""),
    ("doubled", "wrong", "error"),
    ("not_finite", "nonfinite", "not finite"),
    ("cached", "wrong", "computed anew"),
    ("unable", "unsupported", "it is too small for me"),
    ("raising", "crash", "ZeroDivisionError: of my own making (at"),
    ("dying", "crash", "SIGABRT, in phase: first call"),
    ("hanging", "timeout", "killed after 3 s, in phase: steady state"),
    ("list", "crash", "TypeError"),
    ("limit", "ok", ""),
    ("random", "wrong", ""),
    ("lucky", "ok", ""),
])
def test_every_cell_has_an_answer(all_kinds: tuple[Done, Path], method: str, status: str,
                                  reason: str) -> None:
    row = rows(all_kinds[1])[method]
    assert row.status == status, row
    assert reason in row.reason
    assert bool(row.reason) == (row.status != "ok")


def test_a_failure_is_exit_code_3_and_the_report_is_written(
        all_kinds: tuple[Done, Path]) -> None:
    done, out = all_kinds
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert (out / "report.html").stat().st_size > 1000
    assert "of my own making" in (out / "report.html").read_text()


def test_a_report_that_cannot_be_written_is_said(all_kinds: tuple[Done, Path], tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(all_kinds[1] / FILE_NAME, tmp_path)
    (tmp_path / cli.REPORT).mkdir()
    assert cli.main(["report", "--out", str(tmp_path)]) == cli.USAGE
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write ")
    assert "the rows are in" in said


def test_a_good_row_has_all_figures(all_kinds: tuple[Done, Path]) -> None:
    row = rows(all_kinds[1])["good"]
    assert row.error is not None
    assert row.tolerance is not None
    assert row.error <= row.tolerance
    assert row.checked_against == "proved kernel"
    assert row.setup_s is not None
    assert row.first_call_s is not None
    assert len(row.samples_s) >= 3
    assert row.kernel_bytes == 4 * 2 * 3 * 3 * np.dtype("float32").itemsize, "N1 × N2 × O × O"
    assert row.environment in Store(all_kinds[1]).environments()


def test_what_was_measured_before_a_timeout_is_kept(all_kinds: tuple[Done, Path]) -> None:
    row = rows(all_kinds[1])["hanging"]
    assert row.first_call_s is not None
    assert len(row.samples_s) == 1


def test_limits_and_random_methods_carry_their_kind(all_kinds: tuple[Done, Path]) -> None:
    found = rows(all_kinds[1])
    assert {name: found[name].kind for name in ("good", "limit", "random")} == {
        "good": "exact", "limit": "limit", "random": "stochastic"}
    assert found["limit"].error == pytest.approx(1, rel=0.2), "its distance to the finite kernel, of which it is twice"
    assert found["random"].cell.options == {"proj_dim": 128}
    assert "standard errors" in found["random"].checked_against


def test_stderr_of_a_failure_is_kept(all_kinds: tuple[Done, Path]) -> None:
    assert "Fatal Python error: Aborted" in rows(all_kinds[1])["dying"].stderr


def test_peak_memory_is_net_of_what_was_there(bench_files: Path, tmp_path: Path) -> None:
    done = run_methods(bench_files, tmp_path, "GREEDY", "GOOD")
    assert done.returncode == 0, done.stderr
    found = {name: row.peak_bytes for name, row in rows(tmp_path).items()}
    if found["greedy"] is None or found["good"] is None:
        pytest.skip("this system does not tell the peak memory of a process")
    assert 0.98 * 2**29 < found["greedy"] < 1.05 * 2**29
    assert found["good"] < 2**25


def test_memory_limit(bench_files: Path, tmp_path: Path) -> None:
    done = run_methods(bench_files, tmp_path, "GREEDY", options=("--memory-limit", "0.3"))
    assert done.returncode == 4, done.stderr
    assert rows(tmp_path)["greedy"].status == "oom"
    assert "0.30 GiB" in rows(tmp_path)["greedy"].reason


def test_nothing_measured_is_exit_code_4(bench_files: Path, tmp_path: Path) -> None:
    assert run_methods(bench_files, tmp_path, "UNABLE").returncode == 4


# Going on where it was

def test_rows_that_are_there_are_not_measured_again(bench_files: Path, tmp_path: Path) -> None:
    first = run_methods(bench_files, tmp_path, "GOOD")
    before = rows(tmp_path)["good"]
    again = run_methods(bench_files, tmp_path, "GOOD")
    assert (first.returncode, again.returncode) == (0, 0)
    assert "1 of 1 rows are there already" in again.stdout
    assert rows(tmp_path)["good"] == before
    run_methods(bench_files, tmp_path, "GOOD", options=("--rerun",))
    assert len(Store(tmp_path).records()) == 1
    assert rows(tmp_path)["good"].samples_s != before.samples_s


def test_an_edited_method_is_measured_anew(tmp_path: Path) -> None:
    (tmp_path / "methods.py").write_text(METHODS)
    assert run_methods(tmp_path, tmp_path / "out", "GOOD").returncode == 0
    (tmp_path / "methods.py").write_text(METHODS.replace("astype(request.dtype)\n", "astype(request.dtype) * 3\n"))
    assert run_methods(tmp_path, tmp_path / "out", "GOOD").returncode == 3


@pytest.fixture
def heeded_ctrl_c() -> Iterator[None]:
    """For programs started here; a shell lets what runs in its background, as these tests may, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_ctrl_c")
def test_ctrl_c_keeps_what_is_finished(bench_files: Path, tmp_path: Path) -> None:
    arguments = ("run", "--profile", "fixtures", "--cases", CASE, "--impl", f"{bench_files}/methods.py:SLOW",
                 "--methods", "slow", "--replicates", "7", "--out", tmp_path)
    running = subprocess.Popen(command(arguments), cwd=ROOT, env=environment(), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    _wait_for_rows(tmp_path, 2, running)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, errors = running.communicate(timeout=60)
    kept = Store(tmp_path).records()
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"stopped: {len(kept)} of 7 rows" in errors
    assert 2 <= len(kept) < 7
    assert all(row.status == "ok" for row in kept)
    assert bench("report", "--out", tmp_path).returncode == 0
    assert bench(*arguments).returncode == 0
    finished = Store(tmp_path).records()
    assert sorted(row.replicate for row in finished) == list(range(7))
    assert finished[:len(kept)] == kept


def _wait_for_rows(out: Path, n: int, running: subprocess.Popen[str]) -> None:
    for _ in range(600):
        with suppress(StoreError):  # it is being made
            if len(Store(out).records()) >= n:
                return
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    pytest.fail("no rows within a minute")


# The other commands, and what an import costs

def test_list() -> None:
    done = bench("list")
    assert done.returncode == 0, done.stderr
    for name in ("explicit_mlp", "equinox.monte_carlo", "quick", "full", "fixtures", CASE, "digits-mlp-w64-o10-n16"):
        assert name in done.stdout


def test_list_of_what_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """How to get it in full, for brackets are no markup; a broken entry point hides no other method."""
    def load(name: str) -> Any:
        if name == "explicit_mlp":
            raise impls.RegistryError("there is no mylib:FAST")
        raise impls.MethodNotInstalled('get it with ".[jax]"')

    monkeypatch.setattr(impls, "load", load)
    written = io.StringIO()
    listing.show(Console(width=200, file=written))
    assert "broken: there is no mylib:FAST" in written.getvalue()
    assert written.getvalue().count('no: get it with ".[jax]"') == len(impls.names(None)) - 1


def test_export(all_kinds: tuple[Done, Path], tmp_path: Path) -> None:
    done = bench("export", "--format", "csv", "--out", all_kinds[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("method,")
    assert len(done.stdout.splitlines()) > 12
    assert bench("export", "--format", "json", "--out", all_kinds[1], "--file", tmp_path / "rows.json").returncode == 0
    assert (tmp_path / "rows.json").read_text().startswith("[")


def test_it_runs_from_anywhere(bench_files: Path, tmp_path: Path) -> None:
    done = bench("run", "--profile", "fixtures", "--cases", CASE, "--impl", "methods.py:GOOD", "--methods", "good",
                 "--out", tmp_path, cwd=bench_files)
    assert done.returncode == 0, done.stderr


def test_a_method_from_outside_is_measured_beside_any_others(bench_files: Path, tmp_path: Path) -> None:
    done = bench("run", "--profile", "fixtures", "--cases", CASE, "--impl", bench_files / "methods.py:GOOD",
                 "--methods", "explicit_mlp", "--outputs", "trace", "--dtypes", "float32", "--out", tmp_path,
                 imported="torch")
    assert done.returncode == 0, done.stderr
    assert {"good", "explicit_mlp"} == {record.cell.method for record in Store(tmp_path).records()}


def test_without_the_extra_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tyro'] = None\n")
    done = subprocess.run([sys.executable, "-m", "bench", "list"], cwd=ROOT, capture_output=True, text=True,
                          env=environment() | {"PYTHONPATH": str(tmp_path)}, check=False)
    assert done.returncode != 0
    assert "extra 'bench'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_that_lacks_the_signs(all_kinds: tuple[Done, Path]) -> None:
    done = subprocess.run(command(("report", "--out", all_kinds[1])), cwd=ROOT, capture_output=True, text=True,
                          env=environment() | {"PYTHONIOENCODING": "ascii"}, check=False)
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout


def test_importing_bench_imports_no_framework() -> None:
    program = ("import sys, bench, bench.commands.cli, bench.running.runner; "
               "print(sorted({'torch', 'jax', 'sklearn', 'plotly', 'equinox'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
