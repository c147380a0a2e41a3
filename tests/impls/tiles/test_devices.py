"""Tiles dealt to several devices give the numbers of one, and what is not there is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
jax = pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("zarr", reason="the extra scale is not installed")

from impls import ntk  # noqa: E402
from impls.tiles import open_kernel  # noqa: E402
from impls.tiles.deal import bands  # noqa: E402
from impls.tiles.jax import devices as of_jax  # noqa: E402
from impls.tiles.job import Asking, job  # noqa: E402
from impls.tiles.store import Store  # noqa: E402
from impls.tiles.torch import devices as of_torch  # noqa: E402
from reference import InputError  # noqa: E402
from tests import ROOT  # noqa: E402
from tests.impls.tiles.networks import TILE, X, assert_same, in_memory, torch_network  # noqa: E402

FOUR = """
import sys
import equinox
import jax
import numpy as np
from impls import ntk
from tests.impls.tiles.networks import X, jax_network

there = equinox.filter_shard(jax_network(), jax.devices()[1])
kernels = [ntk(there, x, outputs="trace", method="structured_jax") for x in (X, [X[:5], X[5:]])]
assert all(kernel.devices() == {jax.devices()[1]} for kernel in kernels)
np.save(f"{sys.argv[1]}/whole.npy", kernels[0])
np.save(f"{sys.argv[1]}/batches.npy", kernels[1])

kinds = {"one": None, "four": 4}
for name, devices in kinds.items():
    ntk(jax_network(), X, outputs="trace", out=f"{sys.argv[1]}/{name}.zarr", tile=6, devices=devices)
"""


def test_four_devices_of_jax_are_one(tmp_path: Path) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    subprocess.run([sys.executable, "-c", FOUR, str(tmp_path)], check=True, timeout=120, cwd=ROOT,
                   env={**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags})
    one, four = (np.asarray(open_kernel(tmp_path / f"{name}.zarr")) for name in ("one", "four"))
    assert np.array_equal(one, four)
    whole, batches = (np.load(tmp_path / f"{name}.npy") for name in ("whole", "batches"))
    assert_same(batches, whole)


def test_two_processes_of_pytorch_are_one(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    x = np.load(tmp_path / "X.npy", mmap_mode="r")
    two = ntk(torch_network(), x, outputs="trace", out=tmp_path / "two.zarr", tile=6, devices=2)
    assert_same(two, in_memory(torch_network(), X, None, "trace"))
    lists = list((tmp_path / "two.zarr").glob("ntk/done/*.txt"))  # named by process
    here = [one for one in lists if one.name.startswith(f"{os.getpid()}-")]
    assert len(here) == 1, "of the first tile"
    assert len(lists) in (2, 3), "of each process, where one did not do all before the other began"
    assert sum(len(one.read_text().splitlines()) for one in lists) == len(Store.open(tmp_path / "two.zarr").plan.tiles)


def test_a_network_that_cannot_be_sent_is_refused_by_name(tmp_path: Path) -> None:
    class Local(torch.nn.Linear):
        """No other process finds it."""

    with pytest.raises(InputError, match="define its classes and functions at the top of a module"):
        ntk(Local(8, 2), X, outputs="trace", out=tmp_path / "K.zarr", tile=TILE, devices=2)


@pytest.mark.parametrize(("framework", "asked", "said"), [
    (of_jax, 99, "JAX has 1 of cpu here .*XLA_FLAGS"),
    (of_jax, [7], r"devices=\[7\]: give some of JAX's devices of cpu, each once, or their numbers; there are"),
    (of_jax, [0, 0], "each once"),
    (of_torch, 0, "must be a positive number of processes, got 0"),
    (of_torch, ["tpu:0"], r"devices=\['tpu:0'\]: give names of PyTorch's devices, of one kind; there are .*cpu"),
])
def test_devices_that_are_not_there_are_named(framework: Any, asked: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        framework.found(asked, "cpu")


def test_bands_are_dealt_evenly_and_once(tmp_path: Path) -> None:
    ntk(torch_network(), X, outputs="trace", out=tmp_path / "K.zarr", tile=2)
    store = Store.open(tmp_path / "K.zarr")
    asked = job(torch_network(), X, asking=Asking("trace", tile=2))
    dealt = bands(asked, store, store.plan.tiles, 3)
    assert sorted(tile for band in dealt for tile in band) == sorted(store.plan.tiles)
    assert len(dealt) >= 12
    assert [len(band) for band in dealt] == sorted((len(band) for band in dealt), reverse=True)
    assert len(bands(asked, store, store.plan.tiles, 1)) == 1, "all factors fit"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here")
def test_all_cuda_devices_are_one(tmp_path: Path) -> None:
    n = torch.cuda.device_count()
    kernel = ntk(torch_network().cuda(), X, outputs="trace", out=tmp_path / "K.zarr", tile=6, devices=n)
    assert_same(kernel, in_memory(torch_network(), X, None, "trace"))
