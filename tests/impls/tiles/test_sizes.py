"""Tiles are as large as a memory limit has room for, and what is held stays within it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("zarr", reason="the extra scale is not installed")
pytest.importorskip("psutil", reason="the extra bench is not installed")

from bench.machine import memory  # noqa: E402
from impls import ntk  # noqa: E402
from impls.tiles import sizes  # noqa: E402
from reference import InputError  # noqa: E402

MIB = 2**20


def test_the_memory_limit_is_kept(tmp_path: Path) -> None:
    """The factors of all examples would take 88 MiB, and the kernel 12."""
    n, limit = 1800, 40 * MIB
    module = torch.nn.Sequential(torch.nn.Linear(8, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU(),
                                 torch.nn.Linear(512, 10))
    np.save(tmp_path / "X.npy", np.random.default_rng(0).standard_normal((n, 8)).astype(np.float32))
    x = np.load(tmp_path / "X.npy", mmap_mode="r")
    ntk(module, x[:200], outputs="trace", out=tmp_path / "first.zarr", memory_limit=limit)  # what is loaded once
    if not memory.reset_peak():
        pytest.skip("this system does not tell the largest resident memory")
    before = memory.resident()
    ntk(module, x, outputs="trace", out=tmp_path / "K.zarr", memory_limit=limit)
    assert (memory.peak() or 0) - before <= limit


@pytest.mark.parametrize("n", [5, 700, 20_000, 60_000])
@pytest.mark.parametrize("outputs", [1, 10, 100])
@pytest.mark.parametrize("kept_bytes", [500, 90_000])
def test_tiles_cover_and_fit(n: int, outputs: int, kept_bytes: int) -> None:
    limit, entry_bytes = 2**30, 4 * outputs
    size, _ = sizes.tile_of((n, n), entry_bytes, limit, sizes.most_of(kept_bytes, limit))
    kept = sizes.kept_of((size, size), kept_bytes, limit)
    assert size * -(-n // size) < n + -(-n // size), "even"
    assert kept >= min(sizes.KEPT, -(-n // size)) or size <= sizes.SMALL
    assert kept * size * kept_bytes <= sizes.OF_FACTORS * limit
    assert sizes.TILES * size**2 * entry_bytes <= sizes.OF_TILES * limit


def test_a_limit_that_is_not_enough_names_what_is() -> None:
    with pytest.raises(InputError, match="Ask for tile=5 or less"):
        sizes.kept_of((10, 10), 1000, 20_000)
    with pytest.raises(InputError, match="Give it 4000 bytes at least"):
        sizes.kept_of((1, 1), 1000, 2000)
    with pytest.raises(InputError, match="outputs='trace'"):
        sizes.tile_of((10, 10), 1000, 2000)


@pytest.mark.parametrize(("tile", "symmetric"), [(0, True), (2.5, True), ((3, 4), True), ((1, 2, 3), False)])
def test_tiles_that_make_no_sense(tile: object, symmetric: bool) -> None:
    with pytest.raises(InputError, match="tile"):
        sizes.given(tile, symmetric)
