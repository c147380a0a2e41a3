"""Examples on disk and in batches are read as far as a tile needs them, and make the kernel of the array."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("jax", reason="the JAX half is not installed")
zarr = pytest.importorskip("zarr", reason="the extra scale is not installed")

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from impls import ntk  # noqa: E402
from reference import InputError  # noqa: E402
from tests.impls.tiles.networks import TILE, X, Z, assert_same, in_memory, network, torch_network  # noqa: E402


class OnDisk:
    """An array that notes how many examples are read at once."""

    def __init__(self, x: Any) -> None:
        self.x, self.shape, self.dtype, self.read = x, x.shape, x.dtype, list[int]()

    def __getitem__(self, rows: slice) -> np.ndarray:
        found = self.x[rows]
        self.read.append(len(found))
        return found


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("kind", ["zarr", "memmap"])
def test_an_array_on_disk_is_never_read_whole(framework: str, kind: str, tmp_path: Path) -> None:
    if kind == "zarr":
        on_disk = zarr.create_array(str(tmp_path / "X.zarr"), data=X, chunks=(7, 8))
    else:
        np.save(tmp_path / "X.npy", X)
        on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    x1, x2 = OnDisk(on_disk), OnDisk(Z)
    kernel = ntk(network(framework), x1, x2, outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    assert_same(kernel, in_memory(network(framework), X, Z, "trace"))
    assert max(x1.read) == max(x2.read) == TILE
    assert sum(x1.read) >= len(X)


def test_arrays_of_zarr_are_taken_as_they_are(tmp_path: Path) -> None:
    x = zarr.create_array(str(tmp_path / "X.zarr"), data=X[:25])
    kernel = ntk(torch_network(), x, outputs="diagonal", out=tmp_path / "K.zarr", tile=TILE)
    assert_same(kernel, in_memory(torch_network(), X[:25], None, "diagonal"))


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_list_of_unlike_batches_is_the_array(framework: str, tmp_path: Path) -> None:
    """To the last digit: the store is done for whoever comes with the array."""
    x = [X[:3], X[3:24], X[24:25], X[25:]]
    kernel = ntk(network(framework), x, outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    assert_same(kernel, in_memory(network(framework), X, None, "trace"))
    ntk(network(framework), X, outputs="trace", out=tmp_path / "K.zarr")


def test_of_a_loader_one_tile_is_in_memory(tmp_path: Path) -> None:
    alive, most = set[int](), list[int]()

    def collated(items: list[Any]) -> tuple[Any, Any]:
        batch = torch.stack([x for x, _ in items])
        alive.add(id(batch))
        most.append(len(alive))
        weakref.finalize(batch, alive.discard, id(batch))
        return batch, torch.zeros(len(batch))

    loader = DataLoader(TensorDataset(torch.tensor(X), torch.zeros(len(X))), batch_size=4, collate_fn=collated)
    kernel = ntk(torch_network(), loader, Z, outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    assert_same(kernel, in_memory(torch_network(), X, Z, "trace"))
    assert len(loader) == 12
    assert max(most) <= 4, "as many as a tile of ten has a part of, and one that comes after"


def test_a_loader_that_shuffles_is_refused(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(torch.tensor(X)), batch_size=4, shuffle=True)
    with pytest.raises(InputError, match="does not shuffle"):
        ntk(torch_network(), loader, outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    assert not list(tmp_path.iterdir())


def test_batches_without_numbers_are_gathered(tmp_path: Path) -> None:
    class Batches:
        def __iter__(self) -> Iterator[np.ndarray]:
            return iter([X[:13], X[13:25]])

    kernel = ntk(torch_network(), Batches(), outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    assert_same(kernel, in_memory(torch_network(), X[:25], None, "trace"))
