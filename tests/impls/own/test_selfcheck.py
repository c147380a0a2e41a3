"""The engines' self-check and the search for what is not finite: planted faults are found and told."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")

import jax
import jax.numpy as jnp
import torch

import impls
from impls import ntk
from impls.frameworks.arrays import to_numpy
from reference import InputError
from reference.case import Outputs
from reference.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

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


def clipped(framework: str) -> Callable[[Any], Any]:
    """The identity, whose backward pass shortens what is longer than a half: it is not linear."""
    if framework == "jax":
        clip = jax.custom_vjp(lambda h: h)
        clip.defvjp(lambda h: (h, None),
                    lambda _, g: (g / jnp.maximum(1, 2 * jnp.linalg.norm(g, axis=-1, keepdims=True)),))
        return clip

    class Clip(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(h: Any) -> Any:
            return h.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            (g,) = grad_outputs
            return g / (2 * g.norm(dim=-1, keepdim=True)).clamp(min=1)

    return Clip.apply


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_backward_pass_that_is_not_linear_is_no_fault_and_hides_none(framework: str,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    f, x, params = network(framework)
    clip, name = clipped(framework), f"structured_{framework}"

    def clipping(p: Any, x: Any) -> Any:
        return f({**p, "last": clip(p["last"].T).T}, x)

    loop = np.asarray(ntk(clipping, x, **params, method="equinox.exact" if framework == "jax" else
                          "torch_autograd.per_example"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel = np.asarray(ntk(clipping, x, **params, method=name))
    np.testing.assert_allclose(kernel, loop, rtol=0, atol=tolerance("float32") * np.abs(loop).max())
    assert np.abs(loop - np.asarray(ntk(f, x, **params, method=name))).max() > 0.1, "something is clipped"
    plant(framework, monkeypatch)
    with pytest.warns(RuntimeWarning, match="wrong kernel of this network"):
        ntk(clipping, x, **params, method=name)


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


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_part_in_float32_is_no_fault_and_hides_none(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of float64 with exponentials of float32, as in Mamba: each order of sums rounds in its own way."""
    draw = np.random.default_rng(5)
    arrays = {"first": draw.standard_normal((4, 16)), "rate": draw.standard_normal(16),
              "last": draw.standard_normal((16, 2))}
    x = draw.standard_normal((3, 4))

    def f(p: Any, x: Any) -> Any:
        if framework == "torch":
            h = torch.exp(-torch.exp(p["rate"].float()) * torch.nn.functional.softplus((x @ p["first"]).float()))
            return h.double() @ p["last"]
        h = jnp.exp(-jnp.exp(p["rate"].astype(jnp.float32)) * jax.nn.softplus((x @ p["first"]).astype(jnp.float32)))
        return h.astype(jnp.float64) @ p["last"]

    with jax.enable_x64(True):
        as_array = torch.tensor if framework == "torch" else jnp.asarray
        params = {name: as_array(array) for name, array in arrays.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for outputs in OUTPUTS:
                ntk(f, as_array(x), params=params, outputs=outputs, method=f"structured_{framework}")
        plant(framework, monkeypatch)
        with pytest.warns(RuntimeWarning, match="wrong kernel"):
            ntk(f, as_array(x), params=params, method=f"structured_{framework}")


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


def deeper(framework: str) -> tuple[Any, Any, dict[str, Any]]:
    """With two hidden layers: of one, each block of the kernel is symmetric in the outputs."""
    _, x, params = network(framework)
    xp = torch if framework == "torch" else jnp
    params["params"]["middle"] = params["params"]["first"].T @ params["params"]["first"] / 4
    return (lambda p, x: xp.tanh(xp.tanh(x @ p["first"]) @ p["middle"]) @ p["last"]), x, params


def spoil(framework: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """An engine whose kernel, or dict of kernels, is what `change` makes of it as NumPy's arrays."""
    method: Any = impls.load(f"structured_{framework}")
    as_theirs = torch.tensor if framework == "torch" else jnp.asarray
    kernel, components = method.kernel, method.components

    def spoiled(self: Any, *args: Any) -> Any:
        return as_theirs(change(to_numpy(kernel(*args))))

    def spoiled_parts(self: Any, *args: Any) -> dict[str, Any]:
        parts = change({name: to_numpy(each) for name, each in components(*args).items()})
        return {name: as_theirs(each) for name, each in parts.items()}

    monkeypatch.setattr(type(method), "kernel", spoiled)
    monkeypatch.setattr(type(method), "components", spoiled_parts)


def _mirrored(kernel: np.ndarray) -> np.ndarray:
    """The lower triangle is the upper one, its outputs not transposed."""
    for i in range(len(kernel)):
        kernel[i:, i] = kernel[i, i:]
    return kernel


def _one_output(kernel: np.ndarray) -> np.ndarray:
    kernel[..., -1, -1] *= 1.1
    return kernel


@pytest.mark.parametrize("change", [_mirrored, _one_output], ids=lambda each: each.__name__)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_fault_of_some_entries_is_caught(framework: str, change: Callable[[Any], Any],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    f, x, params = deeper(framework)
    spoil(framework, monkeypatch, change)
    with pytest.warns(RuntimeWarning, match="wrong kernel of this network"):
        ntk(f, x, **params, method=f"structured_{framework}")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_components_whose_sum_alone_is_right_are_caught(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, x, params = network(framework)
    name = f"structured_{framework}"
    right = ntk(f, x, **params, components=True, method=name)
    spoil(framework, monkeypatch, lambda found: {"first": found["last"], "last": found["first"]})
    with pytest.warns(RuntimeWarning, match="the share of first in uᵀKv of examples 0 and 4"):
        mended = ntk(f, x, **params, components=True, method=name)
    for each, kernel in right.items():
        np.testing.assert_allclose(np.asarray(mended[each]), np.asarray(kernel), rtol=0,
                                   atol=tolerance("float32") * np.abs(np.asarray(kernel)).max())


def test_a_fault_of_other_examples_alone_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two examples are looked at: the limit of the check, as its module says."""
    f, x, params = network("torch")

    def middle(kernel: np.ndarray) -> np.ndarray:
        kernel[2] *= 2
        kernel[:, 2] *= 2
        return kernel

    spoil("torch", monkeypatch, middle)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ntk(f, x, **params, method="structured_torch")
