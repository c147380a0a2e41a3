"""Further witnesses: what they take and refuse, that none of them touches anything else, and what they get wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import Tensor, nn  # noqa: E402

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.given.user_network import UserNetwork  # noqa: E402
from impls.methods.torch_peers import in_known_layers  # noqa: E402
from impls.networks.torch import NTKLinear, build  # noqa: E402
from impls.registry import OPTIONAL  # noqa: E402
from reference import Case, InputError, Request, case, cases, compare, expected, round_to_float32  # noqa: E402
from reference.case import DType  # noqa: E402
from reference.statistics import compare_stochastic  # noqa: E402
from tests.gate.known_wrong import KNOWN_WRONG, KnownWrong, known_wrong  # noqa: E402
from tests.torch_models import naive_expected  # noqa: E402


def loaded(name: str) -> Any:
    try:
        return impls.load(name)
    except impls.MethodNotInstalled as error:
        pytest.skip(f"optional: {error}")


EXACT = sorted(OPTIONAL - {"traker.random_projection"})
Make = Callable[[], nn.Module]


def mlp(**layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), *layers.values(), nn.Linear(4, 3))


def vectors(module: nn.Module) -> Case:
    x1, x2 = (round_to_float32(np.random.default_rng(n).standard_normal((n, 5))) for n in (4, 2))
    return Case("vectors", UserNetwork("torch", module), {}, x1, x2)


def compared(method: str, module: nn.Module, of: Case | None = None, dtype: DType = "float64") -> Any:
    of = vectors(module) if of is None else of
    kernel = to_numpy(loaded(method).prepare(of, Request(dtype=dtype))())
    return compare(kernel, naive_expected(module, of), outputs="full", dtype=dtype, symmetric=of.x2 is None)


@pytest.mark.parametrize("method", EXACT)
def test_a_users_module_is_left_as_it_was(method: str) -> None:
    module = mlp().train()
    comparison = compared(method, module)
    assert comparison.ok, comparison.reason
    assert module.training
    assert all(param.grad is None and not hasattr(param, "grad_batch") for param in module.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())


@pytest.mark.parametrize("method", sorted(OPTIONAL))
def test_no_torchvision_and_no_options_unheard_of(method: str) -> None:
    witness = loaded(method)
    assert "torchvision" not in sys.modules
    with pytest.raises(InputError, match=f"{method} has no option 'nonsense'"):
        witness.prepare(case("mlp_relu"), Request(options={"nonsense": 1}))


@pytest.mark.parametrize(("method", "module", "reason"), [
    ("nngeometry.gram", lambda: mlp(norm=nn.RMSNorm(4)), "no rule for the parameters of RMSNorm"),
    ("nngeometry.gram", lambda: mlp(frozen=nn.Linear(4, 4).requires_grad_(False)), "frozen ones too"),
    ("nngeometry.jacobian", lambda: mlp(norm=nn.RMSNorm(4)), "no rule for the parameters of RMSNorm"),
    ("backpack.batch_grad", lambda: mlp(norm=nn.LayerNorm(4)), "no rule for the parameters of LayerNorm"),
])
def test_refusals_of_modules(method: str, module: Make, reason: str) -> None:
    answer = impls.unsupported(loaded(method), vectors(module()), Request())
    assert answer is not None
    assert reason in answer


@pytest.mark.parametrize("method", ["nngeometry.jacobian", "backpack.batch_grad", "curvlinops.jacobian_products"])
def test_frozen_parameters_of_a_users_module(method: str) -> None:
    module = mlp(frozen=nn.Linear(4, 4).requires_grad_(False))
    comparison = compared(method, module)
    assert comparison.ok, comparison.reason


@pytest.mark.parametrize(("method", "dtype"), [
    ("curvlinops.jacobian_products", "float32"), ("curvlinops.jacobian_products", "float64"),
    ("backpack.batch_grad", "float32"),
    pytest.param("backpack.batch_grad", "float64", marks=pytest.mark.xfail(
        reason="BackPACK 1.7.1 holds the gradients of an Embedding in float32", strict=True, raises=RuntimeError))])
def test_a_users_module_of_tokens(method: str, dtype: DType) -> None:
    module = nn.Sequential(nn.Embedding(12, 4), nn.Flatten(), nn.Linear(12, 2))
    of = Case("tokens", UserNetwork("torch", module), {}, np.arange(12).reshape(4, 3), np.array([[5, 5, 0]]))
    comparison = compared(method, module, of, dtype)
    assert comparison.ok, comparison.reason


@pytest.mark.xfail(reason="nngeometry 0.4 normalises a BatchNorm's inputs with the default eps", strict=True,
                   raises=AssertionError)
@pytest.mark.parametrize("method", ["nngeometry.gram", "nngeometry.jacobian"])
def test_batch_norm_with_another_eps(method: str) -> None:
    comparison = compared(method, mlp(norm=nn.BatchNorm1d(4, eps=0.1)).eval())
    assert comparison.ok, comparison.reason


@pytest.mark.parametrize("name", ["mlp_tanh_ntk", "mlp_erf_ntk_no_bias", "conv_ntk"])
def test_ntk_layers_in_known_ones(name: str) -> None:
    """The same function of the very same parameters, in layers that a library knows."""
    of = case(name)
    module = build(of, torch.float64, torch.device("cpu"))
    x = torch.tensor(of.x1)
    y, before = module(x), list(module.parameters())
    known = in_known_layers(module)
    assert {type(part) for part in known.modules() if list(part.parameters(recurse=False))} <= {nn.Linear, nn.Conv2d}
    assert all(now is then for now, then in zip(known.parameters(), before, strict=True))
    torch.testing.assert_close(known(x), y, rtol=1e-14, atol=1e-14)


def test_a_bias_that_counts_nothing_stays_where_it_is() -> None:
    layer = NTKLinear(3, 2)
    layer.bias_scale = 0.0
    assert isinstance(in_known_layers(nn.Sequential(layer))[0], NTKLinear)  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize("distribution", ["gaussian", "rademacher"])
def test_traker_is_divided_by_its_dimension(distribution: str) -> None:
    of, options = case("mlp_gelu"), {"proj_dim": 2048, "distribution": distribution}
    kernel = to_numpy(loaded("traker.random_projection").prepare(of, Request(dtype="float64", options=options))())
    verdict = compare_stochastic(kernel, expected(of), outputs="full", dtype="float64", symmetric=False, proj_dim=2048,
                                 n_checks=100)
    assert verdict.ok, verdict.reason


def test_trakers_seeds_share_nothing() -> None:
    """Its own blocks of seed 0 reappear at seed 1000, one place further."""
    method = loaded("traker.random_projection")
    of = case("mlp_relu").with_symmetry()

    def estimate(seed: int) -> np.ndarray:
        request = Request(dtype="float64", seed=seed, options={"proj_dim": 200})
        return to_numpy(method.prepare(of, request)())

    truth = expected(of).full
    errors = np.array([(estimate(seed) - truth).ravel() / np.abs(truth).max() for seed in (0, 1000, 2**32)])
    assert len(np.unique(errors, axis=0)) == 3
    blocks = {seed: _columns(of, seed) for seed in (0, 1000)}
    assert not np.isin(blocks[0], blocks[1000]).any()


def _columns(of: Case, seed: int) -> np.ndarray:
    """The first entries of every block of the projection matrix."""
    from impls.methods import traker

    projector = traker.BasicProjector(3, 500, traker._spread(seed), traker.TYPES["gaussian"],
                                      torch.device("cpu"), dtype=torch.float64)
    return projector.project(torch.eye(3, dtype=torch.float64)[:1], 0).numpy()


@pytest.mark.parametrize(("value", "message"), [
    ({"proj_dim": 0}, "proj_dim must be a positive integer, got 0"),
    ({"distribution": "uniform"}, "distribution='uniform' is not one of gaussian, rademacher"),
])
def test_trakers_options(value: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        loaded("traker.random_projection").prepare(case("mlp_relu"), Request(options=value))


@pytest.mark.parametrize("entry", KNOWN_WRONG, ids=str)
def test_what_is_known_to_be_wrong_concerns_some_case(entry: KnownWrong, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its reason would stand there for nothing: a shared case is computed, and is not refused."""
    monkeypatch.setattr("tests.gate.known_wrong._installed", lambda distribution: entry.version)
    hit = [(name, of.name) for name in filter(lambda name: fnmatchcase(name, entry.methods), impls.names())
           for of in cases() for dtype in entry.dtypes for device in entry.devices
           if (method := loaded(name)) and entry is known_wrong(name, of, dtype, device)
           and impls.unsupported(method, of, Request(dtype=dtype)) is None]
    assert hit


def test_nothing_is_expected_of_another_version() -> None:
    entry = next(entry for entry in KNOWN_WRONG if entry.methods == "backpack.*")
    assert known_wrong("backpack.batch_grad", case("mlp_relu"), "float64") is None
    assert not replace(entry, version="0.0").applies("backpack.batch_grad", case("tied_dense"), "float64")


def test_a_tied_model_of_a_user_is_wrong_as_known() -> None:
    """The condition reads descriptions; of a user's own module it says nothing, and the values are what they are."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    x = round_to_float32(np.random.default_rng(0).standard_normal((3, 4)))
    of = Case("tied", UserNetwork("torch", module), {}, x)
    assert known_wrong("backpack.batch_grad", of, "float64") is None
    for method in ("backpack.batch_grad", "nngeometry.gram", "nngeometry.jacobian"):
        assert compared(method, module, of).status == "wrong"
    assert compared("curvlinops.jacobian_products", module, of).ok


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


@pytest.mark.parametrize("method", ["curvlinops.jacobian_products", "structured_torch.monte_carlo"])
def test_an_lstm_in_forward_mode_is_refused(method: str) -> None:
    """In float32, where PyTorch hands it to oneDNN; a crash would be the method's fault."""
    x = round_to_float32(np.random.default_rng(1).standard_normal((2, 5, 3)))
    of = Case("sequences", UserNetwork("torch", Recurrent()), {}, x, None)
    with pytest.raises(NotImplementedError, match="cannot map or differentiate an operation of this network"):
        loaded(method).prepare(of, Request())()
