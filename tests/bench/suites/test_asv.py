"""What stands around airspeed velocity: environments, what was measured, how alarms are read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.suites import commits, environment
from tests.bench.suites import alarms

ROOT = Path(__file__).resolve().parents[3]
CELL = "kernels.Kernel.time_kernel"


def project(folder: Path, jax: str = "1.0") -> Path:
    (folder / "constraints.txt").write_text(f"jax=={jax}\nnumpy==2.0  # why\n")
    (folder / "requirements-nodeps.txt").write_text("# why\nalone==3.0\n")
    (folder / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy>=2"]\n[project.optional-dependencies]\njax = ["jax>=0.8"]\n'
        'all = ["ntk-bench[jax]"]\n')
    return folder


def test_an_environment_is_installed_once_for_commits_with_the_same_pins(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.sysconfig, "get_path", lambda name: str(tmp_path))
    run: list[list[str]] = []

    def install() -> bool:
        return environment.install(tmp_path, tmp_path, lambda command, check: run.append(command[3:]))

    project(tmp_path)
    assert install()
    assert [command[-2:] for command in run] == [["jax>=0.8", "numpy>=2"], ["--no-deps", "alone==3.0"]]
    assert (tmp_path / "ntk-bench.pth").read_text() == f"{tmp_path}\n"
    assert not install()
    project(tmp_path, jax="1.1")
    assert install()
    assert len(run) == 4


def test_an_installation_that_failed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.sysconfig, "get_path", lambda name: str(tmp_path))

    def fail(command: list[str], check: bool) -> None:
        raise subprocess.CalledProcessError(1, command)

    project(tmp_path)
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            environment.install(tmp_path, tmp_path, fail)


def test_what_the_matrix_pins_takes_the_place_of_the_constraints(tmp_path: Path) -> None:
    constraints, _ = environment.wanted(project(tmp_path), {"jax": "0.9", "flax": ""})
    assert constraints == ["numpy==2.0", "jax==0.9"]


def results(folder: Path, name: str, values: list[float | None], started: float = 100.0, env: str = "one") -> Path:
    """A file of results with these figures of one benchmark, as airspeed velocity writes it."""
    path = folder / "machine" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    columns = ["result", "params", "version", "started_at"]
    path.write_text(json.dumps({"result_columns": columns,
                                "results": {CELL: [values, [["'a'", "'b'"]], "2", started * 1000]}}))
    return path


@pytest.mark.parametrize(("values", "n"), [([1.0, 2.0], 2), ([float("nan"), 2.0], 1), ([float("nan"), None], 0)])
def test_figures_are_counted(values: list[float | None], n: int, tmp_path: Path) -> None:
    results(tmp_path, "commit", values)
    assert commits.measured(tmp_path, since=50) == {"commit": n}


def test_what_an_earlier_run_measured_does_not_count(tmp_path: Path) -> None:
    results(tmp_path, "commit", [1.0], started=10)
    assert commits.measured(tmp_path, since=50) == {}


def test_a_commit_that_measures_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    class Done:
        returncode = 0

    def run(command: list[str], check: bool) -> Done:
        results(tmp_path, "commit", [float("nan")], started=4e9)
        return Done()

    monkeypatch.setattr(commits.subprocess, "run", run)
    monkeypatch.setattr(commits, "_results", lambda arguments: tmp_path)
    assert commits.main(["run", "HEAD^!"]) == commits.NOTHING
    assert "commit: nothing was measured" in capsys.readouterr().err
    assert commits.main(["publish"]) == 0


TABLE = """
| Change   | Before [1234] <a>    | After [5678] <b>    |   Ratio | Benchmark (Parameter) |
|----------|----------------------|---------------------|---------|-----------------------|
| +        | 100±1ms              | 130±1ms             |    1.3  | kernels.time_kernel('structured_torch', 128) |
| -        | 100±1ms              | 80±1ms              |    0.8  | kernels.time_kernel('explicit_mlp', 128) |
"""


def test_alarms_are_read_from_the_table_of_changes() -> None:
    rows = alarms.changed(TABLE)
    assert [row.split("|")[1].strip() for row in rows] == ["+", "-"]
    assert alarms.as_meant(0.3, 1, rows)
    assert not alarms.as_meant(0.3, 1, [*rows, rows[0].replace("structured_torch", "structured_jax")])
    assert not alarms.as_meant(0.3, 0, [])
    assert alarms.as_meant(None, 0, [])
    assert not alarms.as_meant(None, 1, rows)


def test_asv_finds_the_suites_and_no_fault_in_them(tmp_path: Path) -> None:
    """`asv check`, with a matrix of versions; an environment that is there takes the place of the matrix's."""
    text = re.sub(r"^\s*//.*$", "", (ROOT / "asv.conf.json").read_text(), flags=re.MULTILINE)
    matrix = {"req": {"jax": ["0.9.2", "0.10.2"], "jaxlib": ["0.9.2", "0.10.2"]}}
    conf = json.loads(text) | {"repo": str(ROOT), "benchmark_dir": str(ROOT / "bench" / "suites"), "matrix": matrix}
    (tmp_path / "asv.conf.json").write_text(json.dumps(conf))
    command = [sys.executable, "-m", "asv", "check", "--environment", f"existing:{sys.executable}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "ASV_PYTHONPATH": str(ROOT)})
    assert "No problems found" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
