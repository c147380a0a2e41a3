"""A network of one framework through the methods of the other: the kernel is that of its own framework's methods."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
jax = pytest.importorskip("jax", reason="JAX is not installed")
if importlib.util.find_spec("torchax") is None:  # not imported here: that changes PyTorch's settings
    pytest.skip("torchax is not installed, which PyTorch models need on JAX arrays", allow_module_level=True)

import jax.numpy as jnp  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from impls import ntk  # noqa: E402
from impls.frameworks.crossing import torch_in_jax  # noqa: E402
from reference import InputError, normalised, tolerance  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

TO_JAX = ("structured_jax", "equinox.exact", "neural_tangents.structured_derivatives")
TO_TORCH = ("structured_torch", "torch_func.jacobian_contraction", "torch_func.ntk_vector_products",
            "torch_autograd.per_example")


class Cut(nn.Module):
    """A part is detached, another computed without gradients, a buffer and a new tensor take part."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)
        self.register_buffer("mask", torch.arange(8.0))

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x) * self.mask + torch.linspace(0.0, 1.0, 8, dtype=x.dtype)
        with torch.no_grad():
            still = self.a(x).sin()
        return self.b(torch.tanh(h) + h.detach() + still + self.a.weight.data.sum())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cells(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)[:, 0]


NETWORKS = {
    "cut": (Cut, (4,)),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                                          nn.Flatten(), nn.Linear(16, 3)), (2, 4, 4)),
    # The gradient of a bias before such a normalisation is nothing but rounding.
    "normalised": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Tanh(), nn.Flatten(),
                                         nn.Linear(16, 3)), (2, 4, 4)),
    "recurrent": (Recurrent, (5, 4)),
    "attention": (Attention, (3, 4)),
}


def network(name: str, dtype: Any) -> tuple[nn.Module, Tensor, Tensor]:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    return make().to(dtype), torch.randn(3, *shape, dtype=dtype), torch.randn(2, *shape, dtype=dtype)


def far(kernel: object, due: object) -> float:
    """Largest deviation over the largest entry."""
    got, expected = np.asarray(kernel, np.float64), np.asarray(due, np.float64)
    return float(normalised(got - expected, np.full(expected.shape, np.abs(expected).max())).max())


@pytest.mark.parametrize("method", TO_JAX)
@pytest.mark.parametrize("name", NETWORKS)
def test_torch_in_jax(name: str, method: str) -> None:
    module, x1, x2 = network(name, torch.float64)
    due = ntk(module, x1, x2, method="torch_func.jacobian_contraction" if name != "recurrent" else "structured_torch")
    kernel = ntk(module, x1, x2, method=method)
    assert isinstance(kernel, Tensor)
    assert kernel.dtype == torch.float64
    assert far(kernel, due) <= tolerance("float64")


def test_components_keep_their_names() -> None:
    module, x1, _ = network("cut", torch.float32)
    parts = ntk(module, x1, method="structured_jax", components=True)
    assert set(parts) == {name for name, _ in module.named_parameters()}
    due = ntk(module, x1, method="structured_torch", components=True)
    assert all(far(parts[name], due[name]) <= tolerance("float32") for name in parts)


@pytest.mark.parametrize("method", TO_TORCH)
def test_jax_in_torch(method: str) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    with jax.enable_x64(True):
        params = {"layer": [jax.random.normal(keys[0], (4, 5), "float64"), jnp.arange(5.0)],
                  "out": jax.random.normal(keys[1], (5, 3), "float64")}
        x1 = jax.random.normal(keys[2], (4, 4), "float64")
        f = lambda p, x: jnp.tanh(x @ p["layer"][0] + p["layer"][1]) @ p["out"]  # noqa: E731
        due = ntk(f, x1, x1[:2], params=params, method="equinox.exact")
        kernel = ntk(f, x1, x1[:2], params=params, method=method)
        assert isinstance(kernel, jax.Array)
        assert far(kernel, due) <= tolerance("float64")


class Force(nn.Module):
    """The derivative with respect to the input, by PyTorch's autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)[0]


def test_what_does_not_cross() -> None:
    module, x = Force(), torch.randn(3, 4)
    f = lambda params, x: torch.func.functional_call(module, params, (x,))  # noqa: E731
    params = {name: p.detach() for name, p in module.named_parameters()}
    with pytest.raises(NotImplementedError, match="does not run on JAX arrays through torchax"):
        torch_in_jax.crossed(f, params, x, None)


def test_a_derivative_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the cut, JAX differentiates what PyTorch does not: the check of the crossing refuses it."""
    monkeypatch.setattr(torch_in_jax._Autograd, "_cut", lambda self, tensor: tensor)
    module, x1, _ = network("cut", torch.float32)
    with pytest.raises(NotImplementedError, match=r"the gradient of a\.(weight|bias) differ"):
        ntk(module, x1, method="structured_jax")


def test_what_reads_layers_takes_no_function_of_jax() -> None:
    with pytest.raises(InputError, match="does not take any function"):
        ntk(lambda p, x: x @ p, jnp.ones((2, 3)), params=jnp.ones((3, 2)), method="nngeometry.jacobian")


def test_global_state_stays() -> None:
    module, x1, _ = network("cut", torch.float32)
    ntk(module, x1, method="equinox.exact")  # what the frameworks' own first imports set in the environment is theirs
    before = dict(os.environ), torch.backends.mha.get_fastpath_enabled(), torch.get_default_dtype(), jax.config.values
    rng = torch.get_rng_state()
    ntk(module, x1, method="equinox.exact")
    assert before == (dict(os.environ), torch.backends.mha.get_fastpath_enabled(), torch.get_default_dtype(),
                      jax.config.values)
    assert torch.equal(rng, torch.get_rng_state())
    with torch.random.fork_rng():
        module(x1).sum().backward()
    assert torch.accelerator.current_accelerator(check_available=True) in (None, torch.device("cuda"))
    assert type(module(x1)) is Tensor
