"""Kernels on disk against the same kernels in memory: all kinds, both frameworks, growing, and what is refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("jax", reason="the JAX half is not installed")
zarr = pytest.importorskip("zarr", reason="the extra scale is not installed")

from impls import ntk  # noqa: E402
from impls.tiles import open_kernel  # noqa: E402
from impls.tiles.compute import Computer  # noqa: E402
from impls.tiles.plan import Region  # noqa: E402
from reference import InputError  # noqa: E402
from tests.impls.tiles.networks import TILE, X, Z, assert_same, in_memory, network, torch_network  # noqa: E402


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    """The rectangles that are computed from here on."""
    found: list[Region] = []
    call = Computer.__call__

    def counted(self: Computer, region: Region) -> np.ndarray:
        found.append(region)
        return call(self, region)

    monkeypatch.setattr(Computer, "__call__", counted)
    return found


@pytest.mark.parametrize(("framework", "outputs", "symmetric"), [
    *product(["torch"], ["full", "diagonal", "trace"], [True, False]),
    ("jax", "full", True), ("jax", "diagonal", False), ("jax", "trace", True)])
def test_a_kernel_on_disk_is_the_kernel(framework: str, outputs: Any, symmetric: bool, tmp_path: Path) -> None:
    model, x2 = network(framework), None if symmetric else Z[:13]
    kernel = ntk(model, X[:25], x2, outputs=outputs, out=tmp_path / "K.zarr", tile=TILE)
    due = in_memory(model, X[:25], x2, outputs)
    assert_same(kernel, due)
    again = open_kernel(tmp_path / "K.zarr")
    assert_same(again[[3, 21, 4], 5:12], due[[3, 21, 4], 5:12])
    assert_same(again[22, 2], due[22, 2])
    assert_same(again[-1], due[-1])
    if symmetric:
        assert_same(again.diagonal(), np.stack([due[n, n] for n in range(25)]))


def test_a_symmetric_kernel_is_stored_once(tmp_path: Path) -> None:
    ntk(torch_network(), X[:25], outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    plain = zarr.open_array(tmp_path / "K.zarr", mode="r")
    assert np.isnan(plain[10:20, 0:10]).all(), "what is not stored does not read as numbers"
    assert np.isfinite(plain[0:10]).all()
    assert not list((tmp_path / "K.zarr").glob("c/1/0"))


@pytest.mark.parametrize(("outputs", "old", "new"), [
    ("full", (25, None), (47, None)), ("full", (25, 13), (27, 33)), ("trace", (20, None), (25, None)),
    ("diagonal", (25, 13), (25, 33)), ("trace", (25, 13), (47, 13))], ids=str)
def test_added_examples_cost_their_own_pairs_alone(outputs: Any, old: Any, new: Any, tmp_path: Path,
                                                   computed: list[Region]) -> None:
    model = torch_network()

    def kernel(n1: int, n2: int | None) -> Any:
        return ntk(model, X[:n1], None if n2 is None else Z[:n2], outputs=outputs, out=tmp_path / "K.zarr", tile=TILE)

    kernel(*old)
    assert_same(kernel(*new), in_memory(model, X[:new[0]], None if new[1] is None else Z[:new[1]], outputs))
    seen = np.zeros((new[0], new[1] or new[0]), int)
    for region in computed:
        seen[region.rows, region.columns] += 1
    assert seen.max() == 1
    seen = np.maximum(seen, seen.T) if new[1] is None else seen
    assert seen.min() == 1


def test_factors_are_made_once_for_each_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[slice] = []
    of = Computer.examples

    def counted(self: Computer, side: int, rows: slice) -> Any:
        made.append(rows)
        return of(self, side, rows)

    monkeypatch.setattr(Computer, "examples", counted)
    ntk(torch_network(), X, outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    assert len(made) == 5, "five bands of examples, of which all factors fit"


@pytest.mark.parametrize(("what", "said"), [
    ({"x1": np.concatenate([X[:33], X[33:] + 1])}, "x1: other numbers in the examples 30 to 39"),
    ({"x1": X[:20]}, "47 examples there, 20 now"),
    ({"x2": Z}, "x2 = x1 there, an x2 now"),
    ({"outputs": "diagonal"}, "outputs: 'trace' there, 'diagonal' now"),
    ({"tile": 7}, r"tile: \(10, 10\) there, \(7, 7\) now"),
    ({"method": "torch_autograd.per_example"}, "method: 'structured_torch' there"),
    ({"model": torch_network("Tanh")}, "the network: of examples .* the gradients of 0.weight"),
    ({"model": torch.nn.Sequential(torch_network(), torch.nn.Linear(3, 3))}, "n_outputs|parameters: .* in one of"),
    ({"components": True}, "takes no components"),
    ({"progres": True}, r"got progres; did you mean progress\?"),
    ({"tile": 0}, "tile must be a positive number"),
    ({"memory_limit": 200}, "memory_limit=200 is not enough"),
], ids=lambda each: "-".join(each) if isinstance(each, dict) else "")
def test_another_kernel_is_refused_by_name(what: dict[str, Any], said: str, finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=said):
        ntk(**{"model": torch_network(), "x1": X, "outputs": "trace", "out": finished, **what})
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


def test_other_values_of_parameters_are_refused(finished: Path) -> None:
    model = torch_network()
    with torch.no_grad():
        model[2].bias[3] += 1e-3
    with pytest.raises(InputError, match=r"values of the parameters 2\.bias"):
        ntk(model, X, outputs="trace", out=finished)


def test_a_folder_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "K.zarr").mkdir()
    with pytest.raises(InputError, match="holds no kernel of ours"):
        ntk(torch_network(), X, out=tmp_path / "K.zarr")
    assert not list((tmp_path / "K.zarr").iterdir())


def test_a_network_that_is_not_finite_leaves_no_store(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 3), torch.nn.Hardtanh(), torch.nn.Linear(3, 2))
    with torch.no_grad():
        model[2].weight *= 1e38
    with pytest.raises(InputError, match="NaN or infinite"):
        ntk(model, X, out=tmp_path / "K.zarr", tile=TILE)
    assert not list(tmp_path.iterdir())


def test_inputs_stay_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    x = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_same(ntk(torch_network(), x, outputs="trace", out=tmp_path / "K.zarr", tile=TILE),
                in_memory(torch_network(), X, None, "trace"))


def test_several_inputs(tmp_path: Path) -> None:
    """Rows of a table in PyTorch, whose digests are of the rows and not of their numbers."""
    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch_network(), torch_network("Tanh")

        def forward(self, x: Any, y: Any) -> Any:
            return self.first(x) + self.second(y)

    model, x, y = Sum(), torch.tensor(X[:23]), torch.tensor(Z[:23])
    kernel = ntk(model, (x, y), outputs="trace", out=tmp_path / "K.zarr", tile=TILE)
    assert_same(kernel, ntk(model, (x, y), outputs="trace", method="structured_torch").numpy())
    with pytest.raises(InputError, match="other numbers in the examples 20 to 22"):
        ntk(model, (x, torch.cat([y[:22], y[:1]])), outputs="trace", out=tmp_path / "K.zarr", tile=TILE)


@pytest.mark.parametrize("method", ["torch_autograd.per_example", "torch_func.jacobian_contraction"])
def test_a_method_without_factors(method: str, tmp_path: Path) -> None:
    kernel = ntk(torch_network(), X[:13], outputs="trace", out=tmp_path / "K.zarr", tile=TILE, method=method)
    assert_same(kernel, in_memory(torch_network(), X[:13], None, "trace"))
