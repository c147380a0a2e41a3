"""Kernels of a network by the methods of `impls`: the prediction is the same by each, and projections are shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from impls import framework
from reference import InputError, tolerance
from studies.prediction import Linearised, kernel_products, kernels
from studies.prediction.blocks import Kernels
from tests.studies.prediction.problems import AGREEMENT, M, N, O, apart, network, problem

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

STOCHASTIC = ("structured_jax.monte_carlo", "equinox.monte_carlo", "structured_torch.monte_carlo")


EXACT = ("auto.jax", "auto.torch", "torch_func.jacobian_contraction", "neural_tangents.structured_derivatives")
"""`tests.studies.prediction.table` has all of them."""


def given(method: str) -> tuple[Any, Any, dict[str, Any]]:
    """x_train, x_test and further arguments in the method's framework."""
    params, x, x_test = problem().params, problem().x_train, problem().x_test
    in_torch = method == "auto.torch" or (method != "auto.jax" and framework(method) == "torch")
    convert: Any = np.asarray
    if in_torch:
        import torch

        convert = torch.tensor
    arguments: dict[str, Any] = {"params": {name: convert(value) for name, value in params.items()}}
    name = "auto" if method.startswith("auto.") else method
    return convert(x), convert(x_test), {**arguments, "method": name}


@pytest.mark.parametrize("method", EXACT)
def test_every_exact_method_predicts_the_same(method: str) -> None:
    x, x_test, arguments = given(method)
    K = kernels(network, x, x_test, with_test=True, **arguments)
    for found, due in zip((K.train, K.test_train, K.test), vars(problem().kernels).values(), strict=True):
        assert np.abs(found - due).max() <= tolerance("float64") * np.abs(due).max()
    ours, due = (Linearised(each, problem().y, loss="half_sum", **problem().start).gradient_flow(1.0)
                 for each in (K, problem().kernels))
    assert apart(ours, due) <= AGREEMENT


@pytest.mark.parametrize("name", ["auto.jax", "auto.torch"])
def test_products_with_vectors_predict_the_same(name: str) -> None:
    x, x_test, arguments = given(name)
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        K = kernel_products(network, x, x_test, params=arguments["params"])
        for t in (1.0, np.inf):
            ours, due = (Linearised(each, problem().y, loss="half_sum", **problem().start).gradient_flow(t)
                         for each in (K, problem().kernels))
            assert apart(ours, due) <= AGREEMENT


def check_interpolation(K: Kernels) -> None:
    """Test examples that were trained on are learned, by any kernel of one set of projections, and by no two."""
    p = Linearised(K, problem().y, loss="half_sum").gradient_flow(np.inf)
    assert p.test is not None
    assert apart([p.train, p.test], [problem().y, problem().y[:M]]) <= AGREEMENT


@pytest.mark.parametrize("with_test", [False, True])
@pytest.mark.parametrize("method", STOCHASTIC)
def test_random_projections_are_shared_by_the_blocks(method: str, with_test: bool) -> None:
    x, _, arguments = given(method)
    K = kernels(network, x, x[:M], with_test=with_test, seed=3, proj_dim=64, **arguments)
    assert K.train.shape == (N, N, O, O)
    check_interpolation(K)
    if with_test:
        np.testing.assert_allclose(K.test, K.train[:M, :M], rtol=AGREEMENT, atol=AGREEMENT)


def test_examples_come_in_batches_too() -> None:
    x, _, arguments = given("structured_jax.monte_carlo")
    arguments |= {"seed": 3, "proj_dim": 64}
    whole, parts = (kernels(network, each, [x[:2], x[2:M]], **arguments) for each in (x, [x[:4], x[4:]]))
    np.testing.assert_allclose(parts.train, whole.train, rtol=AGREEMENT, atol=AGREEMENT)
    check_interpolation(parts)


def test_outputs_by_themselves_and_what_is_refused() -> None:
    x, x_test, arguments = given("auto.jax")
    K = kernels(network, x, x_test, outputs="independent", **arguments)
    np.testing.assert_allclose(K.train, np.einsum("nmaa->nma", problem().kernels.train), rtol=AGREEMENT)
    assert K.test is None
    assert kernels(network, x, **arguments).test_train is None
    with pytest.raises(InputError, match="outputs='trace' is not one of full, independent"):
        kernels(network, x, outputs="trace", **arguments)  # pyright: ignore[reportArgumentType]
