"""Two runs in one folder, and a run that is killed: nothing lives on, nothing finished is lost or measured again."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from bench.records.store import Store
from bench.running.lock import PREFIX, Lock, OwnFolder, remove, sweep
from bench.running.runner import LOCK
from tests.bench.command import CASE, assert_usage_error, bench, choosing, write_files
from tests.bench.running.kills import kills

N_KILLS = 3
"""Random moments; for more of them, `tests.bench.running.kills`."""
LENGTH_S = 4.0
"""Of a run that nothing disturbs."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_files(folder)
    return folder


def _arguments(files: Path, out: Path) -> tuple[str | Path, ...]:
    return ("run", "--profile", "fixtures", "--cases", CASE, *choosing(files, "GOOD", "SLOW", "HANGING"),
            "--time-limit", "1", "--out", out)


def test_a_second_run_in_a_folder_is_refused(files: Path, tmp_path: Path) -> None:
    Store.create(tmp_path)
    held = Lock(tmp_path / LOCK)
    try:
        assert_usage_error(bench(*_arguments(files, tmp_path)), "another run is at work", "--out")
    finally:
        held.release()
    Lock(tmp_path / LOCK).release()


def test_what_a_killed_run_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever in its own removing it was killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = OwnFolder()
    folder, held = own.path, own.held
    (folder / "log").write_text("x")
    (folder / "socket").mkdir()
    sweep()
    assert (folder / "socket").exists(), "its run goes on"
    held.release()
    empty = Path(tempfile.mkdtemp(prefix=PREFIX))  # before it had its lock, or just before it was gone
    other = tmp_path / "other"
    other.mkdir()
    sweep()
    assert list(tmp_path.iterdir()) == [other]
    assert not empty.exists()
    unlink = Path.unlink
    own = OwnFolder()
    folder = own.path
    (folder / "socket").mkdir()
    own.held.release()
    monkeypatch.setattr(Path, "unlink", _killed)
    with pytest.raises(KeyboardInterrupt):
        remove(folder)
    monkeypatch.setattr(Path, "unlink", unlink)
    sweep()
    assert list(tmp_path.iterdir()) == [other]


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = OwnFolder()
    shutil.rmtree(own.path)
    own.restore()
    assert own.whole()
    sweep()
    assert own.path.exists(), "its lock is held again"
    shutil.rmtree(own.path)
    own.remove()
    assert not list(tmp_path.iterdir())


def _killed(path: Path, missing_ok: bool = False) -> None:
    raise KeyboardInterrupt


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes end with their parents on Linux")
def test_a_killed_run_leaves_no_process_and_no_folder_and_goes_on(tmp_path: Path) -> None:
    found = list(kills(N_KILLS, 0, tmp_path, LENGTH_S))
    assert len([kill for kill in found if kill.n_processes]) == N_KILLS
    assert [kill for kill in found if kill.ended_s is None or kill.lost or kill.folders > 1] == []
