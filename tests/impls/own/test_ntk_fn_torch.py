"""`ntk_fn` in PyTorch: the proved kernel; its gradients against differences of the reference's kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import nn  # noqa: E402

from impls import ntk, ntk_fn  # noqa: E402
from impls.networks.torch_case import functional  # noqa: E402
from impls.own.ntk_fn import METHODS  # noqa: E402
from reference import InputError, Request, case, compare, expected, tolerance  # noqa: E402
from reference.case import Outputs  # noqa: E402
from tests.differences import assert_derivative, tape_kernel, wave  # noqa: E402


@pytest.mark.parametrize("method", METHODS["torch"])
@pytest.mark.parametrize(("name", "outputs"), [("mlp_gelu", "full"), ("conv_pool_dense", "diagonal"),
                                               ("mlp_gelu", "trace")])
def test_proved_kernel_and_its_gradients(name: str, outputs: Outputs, method: str) -> None:
    shared = case(name)
    f, params, x1, x2 = functional(shared, Request(dtype="float64"))
    assert x2 is not None
    params = {name: p.clone().requires_grad_() for name, p in params.items()}
    x1, x2 = x1.clone().requires_grad_(), x2.clone().requires_grad_()
    values = ntk_fn(f, outputs=outputs, method=method)(params, x1, x2)
    comparison = compare(values.detach().numpy(), expected(shared), outputs=outputs, dtype="float64", symmetric=False)
    assert comparison.ok, comparison.reason
    weights = wave(tuple(values.shape))
    gradient = torch.autograd.grad((values * torch.tensor(weights)).sum(), [*params.values(), x1, x2],
                                   allow_unused=True, materialize_grads=True)

    def by_tape(params: Any, x: Any) -> float:
        return float((tape_kernel(shared, params, x["x1"], x["x2"], outputs) * weights).sum())

    at = {name: shared.params[name] for name in params}
    assert shared.x2 is not None
    assert_derivative(by_tape, (at, {"x1": shared.x1, "x2": shared.x2}),
                      (dict(zip(params, gradient[:-2], strict=True)), {"x1": gradient[-2], "x2": gradient[-1]}))


class Counting(nn.Module):
    """Dropout, running statistics, a buffer that `forward` writes to, and a `train` that may not be called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return self.last(nn.functional.dropout(torch.tanh(self.norm(self.first(x))), 0.5, self.training))


@pytest.mark.parametrize("method", METHODS["torch"])
def test_a_module_stays_as_it_is(method: str) -> None:
    module, x = Counting(), torch.eye(3)[:2]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    kernel = ntk_fn(module, outputs="trace", method=method)
    values = kernel(kernel.params, x)
    assert module.training
    assert module.norm.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())
    right = ntk(module.eval(), x, outputs="trace", method="torch_autograd.per_example")
    assert (values - right).abs().max() <= tolerance("float32") * right.abs().max()


def test_composes_with_torch_func() -> None:
    x = torch.eye(3)[:2]
    kernel = ntk_fn(lambda params, x: torch.tanh(x @ params["w"]), outputs="trace")
    params = {"w": torch.arange(6.0).reshape(3, 2) / 6}
    rows = torch.func.vmap(lambda one: kernel(params, one[None], x)[0])(x)
    assert (rows - kernel(params, x)).abs().max() <= tolerance("float32")
    gradient = torch.func.grad(lambda params: kernel(params, x, x).square().sum())(params)
    leaf = params["w"].clone().requires_grad_()
    (by_autograd,) = torch.autograd.grad(kernel({"w": leaf}, x, x).square().sum(), leaf)
    assert by_autograd.any()
    assert (gradient["w"] - by_autograd).abs().max() <= tolerance("float32") * by_autograd.abs().max()


def test_one_tensor_under_two_names_is_two_parameters() -> None:
    w, x = torch.ones(3, requires_grad=True), torch.eye(3)
    for method in METHODS["torch"]:
        kernel = ntk_fn(lambda params, x: x @ params["a"] + 2 * x @ params["b"], method=method)
        np.testing.assert_array_equal(kernel({"a": w, "b": w}, x)[..., 0, 0].detach(), 5 * np.eye(3))


def test_errors_name_the_remedy() -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(InputError, match="leave params out"):
        ntk_fn(module, params={})
    with pytest.raises(InputError, match="no trainable"):
        ntk_fn(nn.Tanh())
    with pytest.raises(InputError, match="is of torch"):
        ntk_fn(module, method="structured_jax")
    hidden = nn.Linear(2, 2)
    module.register_forward_hook(lambda module, inputs, y: hidden(y))
    kernel = ntk_fn(module)
    with pytest.raises(InputError, match="register it"):
        kernel(kernel.params, torch.eye(2))
