"""Kernels in files: the same comes back, and is taken for nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")

import torch
from torch import nn

from impls import ntk
from reference import InputError
from studies.saved import load_kernel, save_kernel

RNG = np.random.default_rng(0)
X1, X2 = RNG.standard_normal((5, 4)).astype(np.float32), RNG.standard_normal((3, 4)).astype(np.float32)


def make(activation: Callable[[], nn.Module] = nn.Tanh, mean: float = 0.0, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    norm = nn.BatchNorm1d(6)
    norm.running_mean.fill_(mean)  # pyright: ignore[reportOptionalMemberAccess]
    return nn.Sequential(nn.Linear(4, 6), norm, activation(), nn.Linear(6, 2))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "k.npz"
    model = make()
    save_kernel(path, ntk(model, X1, X2), model=model, x1=X1, x2=X2, method="auto", options={"seed": 0})
    return path


def test_the_same_kernel_comes_back_with_what_made_it(kept: Path) -> None:
    kernel, about = load_kernel(kept, model=make(), x1=torch.tensor(X1), x2=X2)
    np.testing.assert_array_equal(kernel, ntk(make(), X1, X2).numpy())
    assert kernel.dtype == np.float32
    assert (about["method"], about["outputs"], about["network"], about["options"]) == (
        "auto", "full", "Sequential", {"seed": 0})
    assert about["versions"]["torch"] == torch.__version__
    assert load_kernel(kept).about == about


def test_jax_and_parameters(tmp_path: Path) -> None:
    jnp = pytest.importorskip("jax.numpy", reason="the JAX half is not installed")
    params = {"w": jnp.asarray(X1.T)}

    def f(params: Any, x: Any) -> Any:
        return jnp.tanh(x @ params["w"])

    kernel = ntk(f, X1, params=params, outputs="trace")
    save_kernel(tmp_path / "k.npz", kernel, model=f, params=params, x1=X1, outputs="trace")
    found = load_kernel(tmp_path / "k.npz", model=f, params=params, x1=X1)
    np.testing.assert_array_equal(found.kernel, np.asarray(kernel))
    with pytest.raises(InputError, match="made with other weights"):
        load_kernel(tmp_path / "k.npz", model=f, params={"w": jnp.asarray(X1.T) + 1e-6})


@pytest.mark.parametrize(("given", "message"), [
    ({"model": lambda: make(seed=1)}, "made with other weights"), ({"x1": lambda: X1 + 1e-6}, "made with other x1"),
    ({"x1": lambda: X1}, "made with other x2"), ({"x1": lambda: X2, "x2": lambda: X1}, "made with other x1 and x2"),
    ({"model": lambda: make(nn.ReLU), "x1": lambda: X1, "x2": lambda: X2}, "weights are the same, and the outputs"),
    ({"model": lambda: make(mean=0.1), "x1": lambda: X1, "x2": lambda: X2}, "weights are the same, and the outputs"),
])
def test_a_kernel_of_something_else_is_refused(kept: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_kernel(kept, **{name: value() for name, value in given.items()})


@pytest.mark.parametrize(("kernel", "options", "message"), [
    (np.ones((5, 3)), {}, "is not one of outputs='full' between 5 and 3 examples"),
    (np.ones((5, 5)), {"outputs": "trace"}, "is not one of outputs='trace' between 5 and 3"),
    (np.full((5, 3), np.nan), {"outputs": "trace"}, "has 15 entries that are not finite"),
    (np.ones((5, 3)) * 1j, {"outputs": "trace"}, "must hold real numbers, got dtype complex128"),
    (np.ones((5, 3)), {"outputs": "mean"}, "outputs='mean' is not one of full, diagonal, trace"),
    (np.ones((5, 3)), {"outputs": "trace", "options": {"seed": object()}}, "are not kept"),
    (np.ones((5, 3), int), {"outputs": "trace"}, "of dtype int64, must hold numbers of float32"),
])
def test_what_is_no_kernel_of_these_is_not_saved(kernel: np.ndarray, options: dict[str, Any], message: str,
                                                 tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        save_kernel(tmp_path / "k.npz", kernel, model=make(), x1=X1, x2=X2, **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not written to .*No such file"):
        save_kernel(tmp_path / "none" / "k.npz", np.ones((5, 5)), model=make(), x1=X1, outputs="trace")


def test_files_of_something_else(kept: Path, tmp_path: Path) -> None:
    with np.load(kept) as file:
        parts = dict(file)
    about = json.loads(str(parts["about"]))
    others: list[tuple[dict[str, Any], str]] = [
        ({**parts, "kernel": parts["kernel"] * 2}, "is damaged"), ({"x": X1}, "is no saved kernel"),
        ({**parts, "about": np.array(json.dumps({**about, "format": 9}))}, "of another format than 1"),
        ({**parts, "about": np.array({"a": 1}, object)}, "is no saved kernel"),
    ]
    for content, message in others:
        np.savez(tmp_path / "other.npz", **content)
        with pytest.raises(InputError, match=message):
            load_kernel(tmp_path / "other.npz")
    (tmp_path / "other.npz").write_bytes(kept.read_bytes()[:-30])
    with pytest.raises(InputError, match="is no saved kernel"):
        load_kernel(tmp_path / "other.npz")
    with pytest.raises(InputError, match="there is no file"):
        load_kernel(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"kept in an \.npz file, got 'k\.pkl'"):
        load_kernel("k.pkl")
