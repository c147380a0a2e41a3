"""Modules of the user's own: what they may hold, that they come out as they went in, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import get_args

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import Tensor, nn  # noqa: E402

import impls  # noqa: E402
from impls.choice import costs  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.given.user_network import UserNetwork  # noqa: E402
from impls.networks.torch_case import functional  # noqa: E402
from reference import Case, InputError, Request, compare  # noqa: E402
from reference.case import DType, Outputs  # noqa: E402
from tests.impls.methods.test_torch_methods import GENERAL  # noqa: E402
from tests.torch_models import IMAGE, MODELS, ResidualNet, TiedLinear, model, naive_expected, user_case  # noqa: E402


@pytest.mark.parametrize("n2", [3, None], ids=["x2", "symmetric"])
@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("method", GENERAL)
def test_against_naive_autograd(method: str, kind: type[nn.Module], dtype: DType, n2: int | None) -> None:
    module = model(kind)
    case = user_case(module, n2=n2)
    truth = naive_expected(module, case)
    for outputs in get_args(Outputs):
        request = Request(outputs=outputs, dtype=dtype, batch_size=2)
        kernel = to_numpy(impls.load(method).prepare(case, request)())
        comparison = compare(kernel, truth, outputs=outputs, dtype=dtype, symmetric=n2 is None)
        assert comparison.ok, f"{outputs}: {comparison.reason}"


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("method", GENERAL)
def test_module_is_untouched(method: str, kind: type[nn.Module]) -> None:
    module = model(kind)
    module.get_submodule(next(name for name, _ in module.named_children())).eval()  # a mixture of modes stays one
    before = copy.deepcopy(module)
    impls.load(method).prepare(user_case(module), Request(dtype="float64"))()
    assert [part.training for part in module.modules()] == [part.training for part in before.modules()]
    for (name, now), then in zip(module.named_parameters(), before.parameters(), strict=True):
        assert (now.dtype, now.requires_grad, now.grad) == (then.dtype, then.requires_grad, None), name
    for (name, now), then in zip(module.state_dict().items(), before.state_dict().values(), strict=True):
        assert torch.equal(now, then), name


def test_parameters_are_the_trainable_ones_each_once() -> None:
    residual = functional(user_case(model(ResidualNet)), Request()).params
    assert "middle.weight" in residual
    assert "unused.weight" in residual
    assert not {"again.weight", "frozen.weight", "frozen.bias", "norm.running_mean"} & set(residual)
    assert set(functional(user_case(model(TiedLinear)), Request()).params) == {"first.weight", "first.bias"}


def test_frozen_parameter_is_not_counted() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
    module[1].bias.requires_grad_(False)
    case = user_case(module)
    comparison = compare(to_numpy(impls.load(GENERAL[0]).prepare(case, Request())()), naive_expected(module, case),
                         outputs="full", dtype="float32", symmetric=False)
    assert comparison.ok, comparison.reason


class Returns(nn.Module):
    """A linear layer whose output goes through `change`."""

    def __init__(self, change) -> None:
        super().__init__()
        self.layer = nn.Linear(72, 3)
        self.change = change

    def forward(self, x):
        return self.change(self.layer(x.flatten(1)))


REFUSED = {
    "tuple": (Returns(lambda y: (y, y)), "must return one tensor, got tuple"),
    "number": (Returns(lambda y: float(y.detach().sum())), "must return one tensor, got float"),
    "summed over examples": (Returns(lambda y: y.sum(0)), "not batched"),
    "one number for all": (Returns(lambda y: y.sum()), "not batched"),
    "examples on another axis": (Returns(lambda y: y.T), "not batched"),
    "shape depends on N": (Returns(lambda y: y @ y.T), "not batched"),
    "detached": (Returns(lambda y: y.detach()), "does not depend on its trainable parameters"),
    "classes": (Returns(lambda y: y.argmax(1)), "does not depend on its trainable parameters"),
    "all frozen": (Returns(lambda y: y).requires_grad_(False), "no trainable parameter"),
    "batch statistics": (nn.Sequential(nn.BatchNorm2d(IMAGE[0], track_running_stats=False), nn.Flatten()),
                         "keeps no running statistics"),
    "complex": (nn.Sequential(nn.Flatten(), nn.Linear(72, 3, dtype=torch.complex64)), "torch.complex64"),
    "function": (lambda x: x, "must be a torch.nn.Module, got function"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("method", GENERAL)
def test_refused_with_a_reason(method: str, what: str) -> None:
    module, message = REFUSED[what]
    with pytest.raises(InputError, match=message):
        impls.load(method).prepare(user_case(module), Request())


@pytest.mark.parametrize("method", GENERAL)
def test_kernel_of_a_function(method: str) -> None:
    """`kernel(f, params, x1, x2, request)` checks f and the options itself: `prepare` is not on its way."""
    params, x = {"w": torch.ones(3, 2)}, torch.ones(4, 3)
    kernel = impls.load(method).kernel  # pyright: ignore[reportAttributeAccessIssue]
    assert kernel(lambda p, x: x @ p["w"], params, x, None, Request()).shape == (4, 4, 2, 2)
    with pytest.raises(InputError, match="not batched"):
        kernel(lambda p, x: (x @ p["w"]).sum(0), params, x, None, Request())
    with pytest.raises(InputError, match="proj_dim"):
        kernel(lambda p, x: x @ p["w"], params, x, None, Request(options={"proj_dim": 4}))


def test_model_of_another_framework_has_no_layers() -> None:
    """What takes any function takes one of JAX as well (tests/impls/frameworks/test_crossing.py)."""
    jax_case = Case("jax", UserNetwork("jax", lambda p, x: x, {}), {}, user_case(model(TiedLinear)).x1)
    assert impls.unsupported(impls.load("explicit_mlp"), jax_case, Request())


class BesideItsNames(nn.Module):
    """Reads its weight from a plain list, where torch.func.functional_call does not exchange it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.kept = [self.layer.weight]

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x @ self.kept[0].T


def test_a_parameter_used_beside_its_name() -> None:
    """In a list it is found; in a closure it cannot be."""
    x = torch.ones(3, 4)
    module = BesideItsNames()
    due = _by_backward_passes(module, x)
    assert torch.allclose(impls.ntk(module, x, outputs="trace"), due)
    closed = InAClosure()
    case = Case("beside", UserNetwork("torch", closed), {}, x.double().numpy())
    with pytest.raises(InputError, match=r"'layer\.weight' by another way than its place"):
        impls.ntk(closed, x)
    with pytest.raises(InputError, match="by another way than its"):
        functional(case, Request())
    frozen = InAClosure().requires_grad_(False)
    frozen.layer.bias.requires_grad_(True)
    assert impls.ntk(frozen, x).shape == (3, 3, 2, 2)


class InAClosure(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        weight = self.layer.weight
        self.also = lambda x: x @ weight.T

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.also(x)


def _by_backward_passes(module: nn.Module, x: Tensor) -> Tensor:
    rows = [torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(
        output, list(module.parameters()), retain_graph=True)]) for output in y]) for y in module(x)]
    jacobian = torch.stack(rows)
    return torch.einsum("nap,map->nm", jacobian, jacobian)


class LastStep(nn.Module):
    """A recurrent layer of PyTorch's own, and a dense layer on its last step."""

    def __init__(self, kind: Callable[..., nn.RNNBase]) -> None:
        super().__init__()
        self.cell = kind(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_whatever_is_predicted_to_be_fastest(
    kind: Callable[..., nn.RNNBase], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = "torch_func.jacobian_contraction"
    monkeypatch.setattr(costs, "seconds", lambda name, *_: {lacking: 0.1, "structured_torch": 1.0}.get(name, 30.0))
    torch.manual_seed(0)
    module, x = LastStep(kind), torch.randn(4, 5, 3).double().numpy()
    case = Case("recurrent", UserNetwork("torch", module), {}, x)
    truth = naive_expected(module, case)
    for method in ("auto", "structured_torch", "torch_autograd.per_example"):
        kernel = to_numpy(impls.ntk(module.float(), x, method=method, expect_calls=1000, verbose=True))
        assert compare(kernel, truth, outputs="full", dtype="float32", symmetric=True).ok, method
    assert f"ntk: not {lacking}: torch.func cannot map or differentiate" in capsys.readouterr().out
