"""What people and machines do to a kernel on disk: odd sizes, full disks, two at once, files cut in half."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
zarr = pytest.importorskip("zarr", reason="the extra scale is not installed")

from impls import ntk  # noqa: E402
from impls.tiles import files, open_kernel  # noqa: E402
from impls.tiles.identity import Identity  # noqa: E402
from impls.tiles.store import Store  # noqa: E402
from reference import InputError  # noqa: E402
from tests.impls.tiles.networks import TILE, X, Z, assert_same, in_memory, torch_network  # noqa: E402


@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace"])
@pytest.mark.parametrize(("n1", "n2", "tile", "o"), [
    (1, None, 10, 3), (1, 1, 10, 3), (4, None, 10, 3), (4, 33, (10, 7), 3), (33, 1, (7, 10), 3), (11, None, 10, 1),
    (11, 3, 10, 1)], ids=str)
def test_odd_sizes(n1: int, n2: int | None, tile: Any, o: int, outputs: Any, tmp_path: Path) -> None:
    model, x2 = torch_network(), None if n2 is None else Z[:n2]
    if o == 1:
        model = torch.nn.Sequential(model, torch.nn.Linear(3, 1))
    kernel = ntk(model, X[:n1], x2, outputs=outputs, out=tmp_path / "K.zarr", tile=tile)
    assert_same(kernel, in_memory(model, X[:n1], x2, outputs))


def test_parameters_changed_in_place_are_other_parameters(tmp_path: Path) -> None:
    model = torch_network()
    ntk(model, X[:13], outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    with torch.no_grad():
        model[0].weight[0, 0].nextafter_(torch.tensor(9.0))
    with pytest.raises(InputError, match=r"values of the parameters 0\.weight"):
        ntk(model, X, outputs="trace", out=tmp_path / "K.zarr")


@pytest.mark.parametrize("name", ["zarr.json", "ntk/identity.json"])
def test_notes_cut_in_half_are_named(name: str, finished: Path, tmp_path: Path) -> None:
    store = shutil.copytree(finished, tmp_path / "K.zarr")
    os.truncate(store / name, (store / name).stat().st_size // 2)
    with pytest.raises(InputError, match=r"is damaged .*; compute the kernel anew, under another name"):
        open_kernel(store)


@pytest.mark.parametrize("lost", ["half", "all"])
def test_a_manifest_that_is_lost_costs_its_tiles(lost: str, finished: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    store = shutil.copytree(finished, tmp_path / "K.zarr")
    if lost == "all":
        shutil.rmtree(store / "ntk/done")
    else:
        manifest = next(store.glob("ntk/done/*.txt"))
        os.truncate(manifest, manifest.stat().st_size // 2)
    kernel = ntk(torch_network(), X, outputs="trace", out=store, verbose=True)
    assert f"{15 if lost == 'all' else 8} of 15 to be computed" in capsys.readouterr().out
    assert_same(kernel, in_memory(torch_network(), X, None, "trace"))


def test_an_array_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "K.zarr"), data=X)
    with pytest.raises(InputError, match="holds no kernel of ours"):
        ntk(torch_network(), X, out=tmp_path / "K.zarr")
    assert np.array_equal(zarr.open_array(str(tmp_path / "K.zarr"), mode="r")[:], X)


@pytest.mark.parametrize("where", ["file/K.zarr", "read-only/K.zarr"])
def test_a_place_where_nothing_can_be_written_is_a_line(where: str, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    if where.startswith("read-only"):  # root may write in each folder of its own
        def refused(path: Path, text: str) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr("impls.tiles.store.write", refused)
    with pytest.raises(InputError, match=r"K\.zarr cannot be written \(.+\); make room there, or give another place"):
        ntk(torch_network(), X, outputs="trace", out=tmp_path / where, tile=TILE)


def test_whoever_comes_second_is_told(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found no store, and both computed the first tile."""
    path, identity = tmp_path / "K.zarr", Store.open(finished).identity
    Store.create(path, identity, (0, 1))
    with pytest.raises(InputError, match="begun by another process meanwhile"):
        Store.create(path, identity, (0, 1))
    assert Identity.from_json((path / "ntk/identity.json").read_text()) == identity
    assert not list(tmp_path.glob("*.new"))


def test_a_folder_is_one_processs_for_the_time(tmp_path: Path) -> None:
    """While a store is made."""
    came = list[str]()

    def come() -> None:
        with files.alone_in(tmp_path):
            came.append("second")

    second = Thread(target=come)
    with files.alone_in(tmp_path):
        second.start()
        second.join(0.1)
        came.append("first")
    second.join()
    assert came == ["first", "second"]
