"""Each framework's build of each kind of layer computes what the reference's forward pass does.

The gate holds whole kernels against their proofs; this says which layer of which framework is to blame.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import pytest

from impls import ntk
from impls.frameworks.arrays import to_numpy
from reference import Case, Layered, Request, case, cases, compare, expected, random_case, tolerance
from reference.arithmetic import FLOAT64
from reference.jacobian import linearise
from reference.layers import Attention, Convolution
from tests.reference.test_layers import LAYERS

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

FLOAT64_REQUEST = Request(dtype="float64")

FUNCTIONALS = {
    "jax": "impls.networks.jax_native",
    "equinox": "impls.networks.equinox",
    "torch": "impls.networks.torch_native",
}
"""Modules that give a case as f, params, x1, x2."""

SHARED = [shared for shared in cases() if isinstance(shared.network, Layered)]

ATTENTION, CONVOLUTION = Attention("same", 2), Convolution("same", 2, (1, 1))
# Arrays that a framework keeps in another shape or in parts: once frozen, once used twice.
RESHAPED = [random_case(name, network, 2, None) for name, network in {
    "attention, frozen in part": Layered((2, 4), (ATTENTION,), frozen=("same.in_proj_weight", "same.out_proj.bias")),
    "attention, tied": Layered((2, 4), (ATTENTION, ATTENTION)),
    "convolution, frozen in part": Layered((2, 2, 2), (CONVOLUTION,), frozen=("same.bias",)),
    "convolution, tied": Layered((2, 2, 2), (CONVOLUTION, CONVOLUTION)),
}.items()]


class Build(NamedTuple):
    """Of a framework: a case as f, params, x1, x2, and the context in which it has a dtype."""

    functional: Callable[[Case, Request], Any]
    precision: Callable[[str], AbstractContextManager[None]]


@pytest.fixture(params=FUNCTIONALS)
def build(request: pytest.FixtureRequest) -> Build:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    module = importlib.import_module(FUNCTIONALS[request.param])
    support = importlib.import_module(f"impls.frameworks.{'torch' if request.param == 'torch' else 'jax'}.support")
    return Build(getattr(module, "native", None) or module.functional, support.precision)


@pytest.mark.parametrize("layer", LAYERS)
def test_outputs_are_the_references(build: Build, layer: str) -> None:
    drawn = random_case(f"build of {layer}", LAYERS[layer], 3, None)
    f, params, x1, _ = build.functional(drawn, FLOAT64_REQUEST)
    with build.precision("float64"):
        outputs = to_numpy(f(params, x1)).reshape(len(drawn.x1), -1)
    np.testing.assert_allclose(outputs, reference_outputs(drawn), rtol=0, atol=tolerance("float64"))


@pytest.mark.parametrize("shared", [*SHARED, *RESHAPED], ids=lambda shared: shared.name)
def test_parameters_are_the_trained_ones_each_once(build: Build, shared: Case) -> None:
    params = build.functional(shared, FLOAT64_REQUEST).params
    assert count(params) == sum(value.size for value in shared.params.values())


def test_a_kernel_needs_no_forward_mode_of_weight_normalisation() -> None:
    """The reason that `unsupported` gives; where PyTorch has learned it, this fails, and the reason can go."""
    torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
    from impls import load, unsupported
    from impls.methods.torch_func import ntk_vector_products
    from impls.networks.torch_case import functional

    shared = case("weight_norm")
    reason = unsupported(load("torch_func.ntk_vector_products"), shared, FLOAT64_REQUEST)
    assert reason is not None
    assert "weight normalisation" in reason
    assert unsupported(load("torch_func.jacobian_contraction"), shared, FLOAT64_REQUEST) is None
    with pytest.raises(NotImplementedError, match=r"_weight_norm_interface|implement the jvp"), torch.no_grad():
        ntk_vector_products(*functional(shared, FLOAT64_REQUEST), FLOAT64_REQUEST)


def test_ntk_of_a_torch_module_that_takes_tokens() -> None:
    torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
    from impls.networks.torch import build

    shared = case("transformer")
    module = build(shared, torch.float64, torch.device("cpu"))
    assert_proved(ntk(module, torch.tensor(shared.x1), shared.x2), shared)


def test_ntk_of_a_jax_function_that_takes_tokens() -> None:
    pytest.importorskip("jax", reason="the JAX half is not installed")
    from impls.networks.jax_case import functional

    shared = case("transformer")
    f, params, x1, _ = functional(shared, FLOAT64_REQUEST)
    assert_proved(ntk(f, x1, shared.x2, params=params, method="equinox.exact"), shared)


def assert_proved(kernel: Any, of: Case) -> None:
    comparison = compare(to_numpy(kernel), expected(of), outputs="full", dtype="float64", symmetric=False)
    assert comparison.ok, comparison.reason


def reference_outputs(of: Case) -> np.ndarray:
    assert isinstance(of.network, Layered)
    arrays = {**of.params, **of.constants}
    return np.stack([linearise(of.network, FLOAT64, arrays, x).output.value[:, 0] for x in of.x1])


def count(params: Any) -> int:
    """Numbers in a dict of arrays, or in any pytree of JAX arrays."""
    if isinstance(params, dict):
        return sum(int(np.prod(value.shape)) for value in params.values())
    import jax

    return sum(leaf.size for leaf in jax.tree.leaves(params))
