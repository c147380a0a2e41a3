"""Two environments at one commit are compared as two commits are."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.suites import commits

# asv starts git by a fork, which does nothing of JAX's before it is git.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

CELL: dict[str, Any] = {"name": "kernels.Kernel.time_kernel", "params": [["'a'", "'b'"]], "param_names": ["method"],
                        "version": "2", "unit": "seconds", "type": "time", "code": ""}


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, and ten processes of two methods in each of two environments."""
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.results import Results
    from asv.runner import BenchmarkResult

    for command in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty",
                                     "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True,
                            text=True).stdout.strip()
    (tmp_path / "asv.conf.json").write_text(json.dumps(
        {"version": 1, "project": "p", "repo": ".", "environment_type": "virtualenv", "results_dir": "results"}))
    monkeypatch.chdir(tmp_path)
    Benchmarks(Config.load(), [CELL]).save()
    (tmp_path / "results/vm").mkdir()
    (tmp_path / "results/vm/machine.json").write_text(json.dumps({"machine": "vm", "version": 1}))
    for jax, slower in (("0.9.2", 1.0), ("0.10.2", 1.3)):
        found = Results({"machine": "vm"}, {"jax": jax}, commit, 0, "3.11", f"virtualenv-py3.11-jax{jax}", {})
        samples = [[1 + turn / 100 for turn in range(10)], [slower * (1 + turn / 100) for turn in range(10)]]
        result = BenchmarkResult([True, True], samples, [1, 1], 0, "", None)
        found.add_result(CELL, result, datetime.datetime.now(datetime.UTC), record_samples=True)
        found.save("results")
    return tmp_path


def test_what_became_slower_with_the_second_is_named(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commits.main(["upgrade", "HEAD", "jax0.9.2", "jax0.10.2", "--only-changed"]) == 1
    printed = capsys.readouterr().out
    assert "time_kernel('b')" in printed
    assert "time_kernel('a')" not in printed
    assert commits.main(["upgrade", "HEAD", "jax0.10.2", "jax0.9.2"]) == 0


@pytest.mark.parametrize(("part", "n"), [("jax0", 2), ("jax0.11", 0)])
def test_an_environment_is_named_without_doubt(part: str, n: int, measured: Path) -> None:
    with pytest.raises(SystemExit, match=f"is part of the names of {n} environments.*jax0.10.2"):
        commits.main(["upgrade", "HEAD", part, "jax0.9.2"])
