"""A kernel by a local cluster whose workers are killed: all tiles are there, each the direct kernel's, none twice."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")
pytest.importorskip("zarr", reason="the extra scale is not installed")
torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from impls import ntk  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.tiles.plan import Tile  # noqa: E402
from impls.tiles.store import Store  # noqa: E402
from tests import ROOT  # noqa: E402
from tests.bench.cluster.test_cells import kill_a_worker  # noqa: E402
from tests.bench.command import command, environment  # noqa: E402
from tests.studies.agreement import agree  # noqa: E402

MODEL = '''
import os, time
from pathlib import Path

import torch


class Net(torch.nn.Sequential):
    """Slow, so that there is time to kill it; and no worker survives some of its examples."""
    def forward(self, x):
        time.sleep(0.02)
        if (x == 7).any() and "spawn_main" in Path("/proc/self/cmdline").read_text():
            os.kill(os.getpid(), 9)  # of a worker, and not of the run itself
        return super().forward(x)


def network():
    torch.manual_seed(0)
    return Net(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
'''
N, TILE = 30, 5


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    (folder / "net.py").write_text(MODEL)
    x1, x2 = (np.random.default_rng(n).standard_normal((n, 3)).astype("float32") for n in (N, TILE))
    x1[-1] = 7
    np.savez(folder / "x.npz", x1=x1, x2=x2)
    return folder


def started(files: Path, out: Path) -> subprocess.Popen[str]:
    arguments = ("kernel", "--model", f"{files}/net.py:network", "--input", files / "x.npz", "--out", out, "--tile",
                 str(TILE), "--outputs", "trace", "--method", "torch_autograd.per_example", "--cluster",
                 "local:2")
    return subprocess.Popen(command(arguments), cwd=ROOT, env=environment(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def written(out: Path) -> list[Tile]:
    return [entry.tile for entry in Store.open(out).manifest.entries()] if out.exists() else []


def wait_for_tiles(run: subprocess.Popen[str], out: Path, number: int) -> None:
    while len(written(out)) < number and run.poll() is None:
        time.sleep(0.02)


def test_killed_workers_lose_nothing(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "K.zarr"
    run = started(files, out)
    wait_for_tiles(run, out, 2)
    kill_a_worker(run)
    said = run.communicate(timeout=300)
    tiles = written(out)
    assert run.returncode == 3, said
    assert len(set(tiles)) == len(tiles), "no tile is there twice"
    assert Store.open(out).missing() == (Tile(N // TILE - 1, 0),), "what no worker survives is given up"
    assert f"crash: the tiles ({N // TILE - 1}, 0): the workers that computed them were killed" in said[1]
    given = np.load(files / "x.npz")
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    store = Store.open(out)
    due = to_numpy(ntk(plain, torch.tensor(given["x1"]), torch.tensor(given["x2"]), outputs="trace"))
    for tile in {tuple(tile) for tile in store.plan.tiles} - {tuple(tile) for tile in store.missing()}:
        rows, columns = store.plan.region(Tile(*tile))
        agree(store.read(Tile(*tile)), due[rows, columns], "float32", np.abs(due).max())
