"""pytest-benchmark's figures are asked for: that they are there, and that the last ones were not quicker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.suites import saved


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Sequence[str]]:
    """The commands that are run, each of which saves a file with one figure."""
    commands: list[Sequence[str]] = []

    class Done:
        returncode = 0

    def run(command: Sequence[str], check: bool) -> Done:
        commands.append(command)
        save(tmp_path, len(commands), [{"name": "a"}])
        return Done()

    monkeypatch.setattr(saved.subprocess, "run", run)
    return commands


def save(storage: Path, number: int, figures: list[dict[str, str]]) -> None:
    path = storage / "machine" / f"{number:04}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"benchmarks": figures}))


def test_the_first_run_has_nothing_to_compare_with_and_the_second_has(ran: list[Sequence[str]], tmp_path: Path,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--storage", str(tmp_path), "--threshold", "20%", "-k", "explicit"]
    assert saved.main(arguments) == saved.main(arguments) == 0
    assert "--benchmark-compare" not in ran[0]
    assert {"--benchmark-compare", "--benchmark-compare-fail=min:20%", "-k", "explicit"} <= set(ran[1])
    assert "1 figure in" in capsys.readouterr().out


@pytest.mark.parametrize("figures", [None, []])
def test_a_run_without_figures_is_an_error(figures: list | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    class Done:
        returncode = 0

    def run(command: Sequence[str], check: bool) -> Done:
        if figures is not None:
            save(tmp_path, 1, figures)
        return Done()

    monkeypatch.setattr(saved.subprocess, "run", run)
    assert saved.main(["--storage", str(tmp_path)]) == saved.NOTHING
    assert "nothing was measured" in capsys.readouterr().err


@pytest.mark.parametrize("threshold", ["30", "1.5%", "-3%", "x%"])
def test_a_threshold_is_a_whole_percentage(threshold: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        saved.main([f"--threshold={threshold}"])
    assert exit_info.value.code == 2
    assert threshold in capsys.readouterr().err
