"""Two commits of a repository, measured in turns: a planted slow-down, another kernel, what cannot be imported."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from bench.commands.compare import Compare, compare
from bench.compare import commits
from bench.records.record import Cell
from reference import InputError
from tests import ROOT
from tests.bench.command import assert_usage_error, bench

METHOD = "explicit_mlp"
FILE = f"impls/methods/{METHOD}.py"
SLOWED = """

_prepare = ExplicitMLP.prepare

def _slowed(self, case, request):
    compute = _prepare(self, case, request)
    return lambda: [compute() for _ in range(10)][0]

ExplicitMLP.prepare = _slowed
"""


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, capture_output=True, text=True, check=True,
                          env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"})
    return done.stdout.strip()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with branches of one commit each: plain, slowed, broken and empty."""
    folder = tmp_path_factory.mktemp("clone")
    git(folder, "init", "--quiet", "--initial-branch", "empty")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "nothing")
    for part in commits.PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    commit(folder, "plain")
    for branch, file, text in (("slowed", FILE, SLOWED),
                               ("broken", "impls/__init__.py", "import no_such_module\n")):
        git(folder, "checkout", "--quiet", "plain")
        with (folder / file).open("a") as source:
            source.write(text)
        commit(folder, branch)
    return folder


def commit(folder: Path, branch: str) -> None:
    git(folder, "checkout", "--quiet", "-b", branch)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", branch)


def run(clone: Path, a: str, b: str, console: Console | None = None, processes: int = 2) -> int:
    options = Compare(a, b, repository=clone, methods=(METHOD,), processes=processes)
    return compare(options, console or Console(quiet=True))


def test_a_planted_slow_down_is_a_regression(clone: Path) -> None:
    console = Console(width=100, record=True)
    assert run(clone, "plain", "slowed", console, processes=8) == 1
    text = console.export_text()
    assert "1 cell, 8 processes a side" in text
    assert "1 regression in 1 cells: 1 slower" in text


def test_a_commit_that_cannot_be_imported_or_has_no_methods_is_said(clone: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be imported by this harness: ModuleNotFoundError: .*no_such_module"):
        run(clone, "broken", "plain")
    with pytest.raises(InputError, match="has no impls and reference"):
        run(clone, "empty", "plain")
    with pytest.raises(InputError, match="'nowhere' is no store, no commit"):
        run(clone, "plain", "nowhere")


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    done = bench("compare", "--out", tmp_path / "none", "nowhere", "nowhere")
    assert_usage_error(done, "'nowhere' is no store")


def test_cells_ask_for_processes() -> None:
    assert commits.default_processes(1) == commits.LEAST_PROCESSES
    assert commits.default_processes(1000) == 18


def test_an_option_is_not_taken_for_a_commit(clone: Path) -> None:
    assert commits.resolve(clone, "--all") is None
    assert commits.resolve(clone, "plain") == git(clone, "rev-parse", "plain")


class _Side:
    """Answers, or fails from the k-th process on."""

    def __init__(self, fails_from: int = 99, entries: tuple[float, ...] = (1.0, 2.0)) -> None:
        self.fails_from, self.entries, self.asked = fails_from, entries, 0

    def sample(self, cell: Cell) -> dict[str, object]:
        self.asked += 1
        if self.asked > self.fails_from:
            return {"problem": "crash: no reason"}
        return {"cpu": [1.0], "wall": [1.0], "entries": self.entries, "disturbance": None}


@pytest.mark.parametrize(("a", "b", "status"), [(0, 9, "mended"), (9, 0, "broken"), (0, 0, "missing"), (3, 9, "mended"),
                                                (9, 3, "broken")])
def test_what_fails_on_a_side(a: int, b: int, status: str) -> None:
    seen, sides = commits.Seen(Cell(METHOD, "mlp")), {"A": _Side(a), "B": _Side(b)}
    commits._take_turns([seen], sides, 8, lambda text: None)  # pyright: ignore[reportArgumentType]
    problem = commits._contest(seen, "minimum").problem
    assert problem is not None
    assert problem[0] == status
    assert sides["A"].asked + sides["B"].asked <= 10, "it is not asked on and on"


@pytest.mark.parametrize(("entries", "differs"), [((1.0, 2.0 + 1e-6), False), ((1.0, 2.001), True),
                                                  ((1.0, math.nan), True), ((1.0,), True)])
def test_another_kernel_is_a_regression_whatever_its_time(entries: tuple[float, ...], differs: bool) -> None:
    seen, sides = commits.Seen(Cell(METHOD, "mlp")), {"A": _Side(), "B": _Side(entries=entries)}
    commits._take_turns([seen], sides, 2, lambda text: None)  # pyright: ignore[reportArgumentType]
    problem = commits._contest(seen, "minimum").problem
    assert (problem is not None and problem[0] == "broken") == differs
