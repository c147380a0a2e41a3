"""The closed form of a fully connected network: its components, parameter by parameter."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import Tensor  # noqa: E402

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.frameworks.torch.blocks import contract  # noqa: E402
from impls.given.user_network import UserNetwork  # noqa: E402
from impls.methods import explicit_mlp  # noqa: E402
from impls.methods.explicit_mlp import components  # noqa: E402
from impls.networks.torch_case import functional  # noqa: E402
from reference import MLP, Case, Request, case, cases, compare, expected, random_case  # noqa: E402
from reference.case import DType, Outputs  # noqa: E402
from tests.naive_kernels import from_jacobians  # noqa: E402

MLPS = [shared.name for shared in cases() if isinstance(shared.network, MLP)]


def jacobians(shared: Case, parameter: str) -> list[np.ndarray]:
    """∂f/∂parameter at x1 and x2 by autograd, (N, O, P_i)."""
    f, params, x1, x2 = functional(shared, Request(dtype="float64"))

    def outputs(value: Tensor, x: Tensor) -> Tensor:
        return f({**params, parameter: value}, x)

    assert x2 is not None
    jacobian = torch.autograd.functional.jacobian
    return [jacobian(lambda value, x=x: outputs(value, x), params[parameter]).flatten(2).numpy() for x in (x1, x2)]


@pytest.mark.parametrize("name", MLPS)
def test_each_component_is_its_parameters_share(name: str) -> None:
    shared = case(name)
    shares = components(shared, Request(dtype="float64"))
    assert list(shares) == list(shared.network.param_shapes())
    for parameter, share in shares.items():
        truth = from_jacobians(*jacobians(shared, parameter))
        comparison = compare(to_numpy(share), truth, outputs="full", dtype="float64", symmetric=False)
        assert comparison.ok, f"{parameter}: {comparison.reason}"


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("dtype", get_args(DType))
def test_components_sum_to_the_kernel(dtype: DType, outputs: Outputs, batch_size: int | None) -> None:
    for shared in (case("mlp_relu_deep"), case("mlp_tanh_ntk").with_symmetry()):
        shares = components(shared, Request(dtype=dtype, outputs=outputs, batch_size=batch_size))
        total = to_numpy(torch.stack(list(shares.values())).sum(0))
        comparison = compare(total, expected(shared), outputs=outputs, dtype=dtype, symmetric=shared.symmetric)
        assert comparison.ok, comparison.reason


def test_the_method_gives_the_components() -> None:
    shared, request = case("mlp_tanh_ntk"), Request(dtype="float64", outputs="trace")
    of_method = impls.load("explicit_mlp").components(shared, request)  # type: ignore[attr-defined]
    for name, share in components(shared, request).items():
        assert torch.equal(of_method.pop(name), share)
    assert not of_method


def test_no_block_has_more_examples_than_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[tuple[int, int]] = []

    def recording(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
        blocks.append((len(left), len(right)))
        return contract(left, right, outputs)

    monkeypatch.setattr(explicit_mlp, "contract", recording)
    shared = random_case("blocks", MLP((3, 2)), 3, 5)
    impls.load("explicit_mlp").prepare(shared, Request(batch_size=2))()
    assert blocks == [(2, 2), (2, 2), (2, 1), (1, 2), (1, 2), (1, 1)]


def test_leaving_out_the_biases_is_noticed() -> None:
    shared = case("mlp_relu_deep")
    shares = components(shared, Request(dtype="float64"))
    weights = to_numpy(torch.stack([share for name, share in shares.items() if name.endswith("weight")]).sum(0))
    assert not compare(weights, expected(shared), outputs="full", dtype="float64", symmetric=False).ok


def test_relu_at_zero_has_slope_zero_as_in_autograd() -> None:
    """A unit without bias that sees the input 0 sits on the kink."""
    shared = random_case("kink", MLP((3, 4, 2), bias=False), 2, 2)
    shared.x1[0] = 0.0
    request = Request(dtype="float64")
    closed, autograd = (to_numpy(impls.load(method).prepare(shared, request)())
                        for method in ("explicit_mlp", "torch_autograd.per_example"))
    assert np.isfinite(closed).all()
    np.testing.assert_array_equal(closed[0], autograd[0])  # exact zeros


def test_other_networks_are_unsupported_with_a_reason() -> None:
    method = impls.load("explicit_mlp")
    assert "ConvNet" in (impls.unsupported(method, case("conv_ntk"), Request()) or "")
    own = Case("own", UserNetwork("torch", object()), {}, np.ones((2, 3)))
    assert (impls.unsupported(method, own, Request()) or "").startswith("the closed form needs the layers as data")
    assert impls.unsupported(method, case("mlp_relu"), Request()) is None
