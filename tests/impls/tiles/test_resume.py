"""A kernel that is killed goes on where it was, and damage is found; by a process that is killed with −9 indeed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("zarr", reason="the extra scale is not installed")

from impls import ntk  # noqa: E402
from impls.tiles import open_kernel  # noqa: E402
from impls.tiles.manifest import Entry, Manifest  # noqa: E402
from impls.tiles.plan import Tile  # noqa: E402
from impls.tiles.store import Compute, Store  # noqa: E402
from reference import InputError  # noqa: E402
from tests import ROOT  # noqa: E402
from tests.impls.tiles.networks import TILE, X, assert_same, in_memory, torch_network  # noqa: E402

KILLED = """
import os, signal, sys
import torch
from impls import ntk
from impls.tiles import manifest
from reference import InputError
from tests.impls.tiles.networks import TILE, X, torch_network

torch.set_num_threads(1)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def in_tile(written=[]):
    append = manifest.Manifest.append
    def killed(self, entry):
        written.append(entry)
        if len(written) == 6:
            chunk = self.folder.parent.parent / "c" / str(entry.tile.row) / str(entry.tile.column)
            os.truncate(chunk, 100)
            chunk.with_suffix(".0.partial").write_bytes(b"0")  # as zarr has it while it writes
            die()
        append(self, entry)
    manifest.Manifest.append = killed

def in_manifest(written=[]):
    line = manifest._line
    def killed(entry):
        written.append(entry)
        if len(written) < 6:
            return line(entry)
        os.write(manifest_of[0]._own, line(entry)[:-9])
        die()
    manifest_of = []
    append = manifest.Manifest.append
    manifest.Manifest.append = lambda self, entry: (manifest_of.append(self), append(self, entry))
    manifest._line = killed

ntk(torch_network(), X[:4], method="structured_torch")  # what is imported at the first call, once for all
for where, path in zip((in_tile, in_manifest), sys.argv[1:]):
    pid = os.fork()  # before anything of zarr's runs
    if pid == 0:
        where()
        ntk(torch_network(), X, outputs="trace", out=path, tile=TILE)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL

def second():
    pid = os.fork()
    if pid == 0:
        try:
            ntk(torch_network(), X, outputs="trace", out=sys.argv[3], tile=TILE)
        except InputError as error:
            os._exit(3 if "another process" in str(error) else 4)
        os._exit(0)
    return pid

both = [second(), second()]
ended = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in both)
assert ended in ([0, 0], [0, 3]), ended
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stores whose process was killed in its sixth tile of fifteen, and while it noted the sixth; and one that two
    processes came to at once."""
    folder = tmp_path_factory.mktemp("killed")
    paths = {name: folder / f"{name}.zarr" for name in ("tile", "manifest", "two")}
    subprocess.run([sys.executable, "-c", KILLED, *map(str, paths.values())], check=True, timeout=120, cwd=ROOT,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})
    return paths


@pytest.mark.parametrize("where", ["tile", "manifest"])
def test_killed_and_gone_on_with(where: str, killed: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = killed[where]
    assert len(Store.open(path).missing()) == 10
    with pytest.raises(InputError, match="not complete"):
        np.asarray(open_kernel(path))
    kernel = ntk(torch_network(), X, outputs="trace", out=path, verbose=True)
    assert "10 of 15 to be computed" in capsys.readouterr().out
    assert_same(kernel, in_memory(torch_network(), X, None, "trace"))
    assert not list(path.rglob("*.partial"))


def test_two_at_once_make_one_kernel(killed: dict[str, Path]) -> None:
    """The second is told to wait, or comes when all is done."""
    assert_same(open_kernel(killed["two"]), in_memory(torch_network(), X, None, "trace"))


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """All of it, to be damaged."""
    return shutil.copytree(finished, tmp_path / "K.zarr")


def flipped(chunk: Path) -> None:
    data = bytearray(chunk.read_bytes())
    data[17] ^= 4
    chunk.write_bytes(data)


def swapped(chunk: Path) -> None:
    """A chunk whole in itself, of another tile."""
    chunk.write_bytes(chunk.with_name("2").read_bytes())


@pytest.mark.parametrize("damage", [flipped, swapped, Path.unlink, lambda chunk: os.truncate(chunk, 100)],
                         ids=["flipped", "swapped", "gone", "torn"])
def test_a_damaged_tile_is_found_and_computed_anew(damage: Callable[[Path], None], store: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    damage(store / "c/0/1")
    with pytest.raises(InputError, match=r"damaged, or not complete, in the tile \(0, 1\)"):
        np.asarray(open_kernel(store))
    assert np.isfinite(open_kernel(store)[10:, 10:]).all()
    kernel = ntk(torch_network(), X, outputs="trace", out=store, verbose=True)
    assert "1 of 15 to be computed" in capsys.readouterr().out
    assert_same(kernel, in_memory(torch_network(), X, None, "trace"))


def test_a_tile_that_is_done_is_not_done_again(store: Path) -> None:
    opened = Store.open(store)
    assert not opened.fill(Tile(1, 2), lambda region: pytest.fail("computed"))
    flipped(store / "c/1/2")
    assert opened.fill(Tile(1, 2), lambda region: np.zeros(region.shape, np.float32))
    assert not opened.read(Tile(1, 2)).any(), "a tile of zeros is there, too"
    assert not opened.check([Tile(1, 2)])


def test_an_interrupted_run_keeps_its_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed, call = [], Store.computed

    def interrupted(self: Store, tile: Tile, compute: Compute) -> np.ndarray | None:
        computed.append(tile)
        if len(computed) == 5:
            raise KeyboardInterrupt
        return call(self, tile, compute)

    monkeypatch.setattr(Store, "computed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ntk(torch_network(), X, outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    assert len(Store.open(tmp_path / "K.zarr").missing()) == 15 - 5


def test_one_run_at_a_time(store: Path) -> None:
    with Store.open(store).locked(), pytest.raises(InputError, match="computed by another process"):
        ntk(torch_network(), X, outputs="trace", out=store)


def test_a_full_disk_is_a_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append, written = Manifest.append, list[Entry]()

    def full(self: Manifest, entry: Entry) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(entry)
        append(self, entry)

    monkeypatch.setattr(Manifest, "append", full)
    for name in ("c/0/1", "c/0/2"):
        flipped(store / name)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); what is there stays"):
        ntk(torch_network(), X, outputs="trace", out=store)
    assert not left_open(store)


def left_open(folder: Path) -> list[str]:
    """Files of the folder that this process has open, where the system tells."""
    found = list[str]()
    for each in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            found.append(os.readlink(each))
    return [name for name in found if name.startswith(str(folder))]


def test_nothing_is_unpickled(store: Path) -> None:
    """The array is one of plain numbers, and another kind of array in its place is refused before it is read."""
    note = (store / "zarr.json").read_text()
    for was, other in (("float32", "float64"), ('"name": "crc32c"', '"name": "gzip", "configuration": {"level": 1}')):
        assert was in note
        (store / "zarr.json").write_text(note.replace(was, other))
        with pytest.raises(InputError, match="no kernel of ours any more"):
            open_kernel(store)
