"""The engines' self-check and the search for what is not finite: planted faults are found and told."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")

import jax.numpy as jnp
import torch

import impls
from impls import ntk
from reference import InputError
from reference.case import Outputs
from reference.tolerances import tolerance

OUTPUTS: tuple[Outputs, ...] = ("full", "diagonal", "trace")
FRAMEWORKS = ("torch", "jax")


def network(framework: str, outputs: int = 3) -> tuple[Any, Any, dict[str, Any]]:
    draw = np.random.default_rng(3)
    arrays = {"first": draw.standard_normal((4, 8)), "last": draw.standard_normal((8, outputs))}
    x = draw.standard_normal((5, 4))
    if framework == "torch":
        params = {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}
        return (lambda p, x: torch.tanh(x @ p["first"]) @ p["last"]), torch.tensor(x).float(), {"params": params}
    params = {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}
    return (lambda p, x: jnp.tanh(x @ p["first"]) @ p["last"]), jnp.asarray(x, jnp.float32), {"params": params}


def plant(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that counts the shares of the parameter "first" twice."""
    method: Any = impls.load(f"structured_{framework}")
    parts = method.components

    def components(self: Any, *args: Any) -> dict[str, Any]:
        found = parts(*args)
        return {**found, "first": 2 * found["first"]}

    def kernel(self: Any, *args: Any) -> Any:
        found = components(self, *args)
        return found["first"] + found["last"]

    monkeypatch.setattr(type(method), "components", components)
    monkeypatch.setattr(type(method), "kernel", kernel)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_planted_fault_is_caught_and_mended(framework: str, outputs: Outputs, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    f, x, params = network(framework)
    name = f"structured_{framework}"
    right = np.asarray(ntk(f, x, **params, outputs=outputs, method=name))
    plant(framework, monkeypatch)
    assert np.abs(np.asarray(ntk(f, x, **params, outputs=outputs, method=name, check=False)) - right).max() > 0.1
    with pytest.warns(RuntimeWarning, match="wrong kernel of this network: .* the share of first differs"):
        mended = np.asarray(ntk(f, x, **params, outputs=outputs, method=name, verbose=True))
    np.testing.assert_allclose(mended, right, rtol=0, atol=tolerance("float32") * np.abs(right).max())
    assert f"{name} checked itself in" in capsys.readouterr().out


def test_a_planted_fault_in_a_trace_of_many_outputs_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    f, x, params = network("torch", outputs=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ntk(f, x, **params, outputs="trace", method="structured_torch")
    plant("torch", monkeypatch)
    with pytest.warns(RuntimeWarning, match="wrong kernel"):
        ntk(f, x, **params, outputs="trace", method="structured_torch")


def test_rounding_of_a_hard_network_is_no_fault() -> None:
    """Sines of frequency 30 in several layers, in float32: off by more than the tolerance, and nobody's fault."""
    torch.manual_seed(0)

    class Sine(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(100 * x)

    layers = [layer for i in range(4) for layer in (torch.nn.Linear(64 if i else 2, 64), Sine())]
    module, x = torch.nn.Sequential(*layers, torch.nn.Linear(64, 1)), torch.rand(6, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ntk(module, x, method="structured_torch")


def test_nothing_of_the_generators_changes(capsys: pytest.CaptureFixture[str]) -> None:
    f, x, params = network("torch")
    before, numpys = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    ntk(f, x, **params, method="structured_torch", verbose=True)
    assert re.search(r"checked itself in \S+ s: right", capsys.readouterr().out)
    assert torch.equal(before, torch.get_rng_state())
    assert numpys == repr(np.random.get_state())  # noqa: NPY002


def test_where_pytorch_overflows_is_told() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    for name, weight in module.named_parameters():
        torch.nn.init.constant_(weight, 1e20 if name.endswith("weight") else 0.0)
    x = torch.ones(2, 3)
    for method in ("auto", "torch_autograd.per_example"):
        with pytest.raises(InputError, match=r"forward pass, in the operation addmm, .*'1.weight' \(example 0 of x1\)"):
            ntk(module, x, method=method)
    assert torch.isfinite(ntk(module.double(), x.double())).all()


def test_where_a_backward_pass_is_not_finite_is_told() -> None:
    weight = {"w": torch.ones(2, 2)}
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    with pytest.raises(InputError, match=r"backward pass: the gradient of 'w'.*\(example 1 of x1\)"):
        ntk(lambda p, x: (x @ p["w"]).abs().sqrt(), x, params={**weight})


def test_where_jax_is_not_finite_is_told() -> None:
    def f(params: Any, x: Any) -> Any:
        y = x @ params["w"]
        return jnp.where(y > 0, jnp.sqrt(y), 0.0)

    with pytest.raises(InputError, match=r"backward pass: the gradient of 'w' \(example 1 of x1\)"):
        ntk(f, jnp.asarray([[1.0, 2.0], [-1.0, -1.0]]), params={"w": jnp.ones((2, 2))})
    with pytest.raises(InputError, match=r"forward pass, in the operation exp with a result of shape \(1, 2\)"):
        ntk(lambda p, x: jnp.exp(x @ p["w"]), jnp.full((2, 2), 100.0), params={"w": jnp.ones((2, 2))})


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_rounding_of_saturated_units_is_no_fault_and_hides_none(framework: str, outputs: Outputs,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last example nothing is left but rounding; those of the largest entry tell."""
    f, x, params = network(framework)
    arrays: Any = torch if framework == "torch" else jnp
    x = arrays.concatenate([x[:-1], 1e4 * x[-1:]])

    def saturated(p: Any, x: Any) -> Any:
        return arrays.tanh(f(p, x) * x[:, :1])

    name = f"structured_{framework}"
    round_kernels(name, monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ntk(saturated, x, **params, outputs=outputs, method=name)
    monkeypatch.undo()
    plant(framework, monkeypatch)
    round_kernels(name, monkeypatch)
    with pytest.warns(RuntimeWarning, match="wrong kernel of this network: .* the share of first differs"):
        ntk(saturated, x, **params, outputs=outputs, method=name)


def round_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry is off by less than a unit in the last place of the largest one."""
    method: Any = impls.load(name)
    kernel = type(method).kernel

    def rounded(self: Any, *args: Any) -> Any:
        found = kernel(self, *args)
        return found + np.finfo(np.float32).eps / 2 * abs(found).max()

    monkeypatch.setattr(type(method), "kernel", rounded)
