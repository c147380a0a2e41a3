"""neural-tangents' analytic kernel: closed forms by hand, and the average of finite networks as they grow wide."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the JAX half is not installed")
if importlib.util.find_spec("neural_tangents") is None:
    pytest.skip("neural-tangents is not installed", allow_module_level=True)

from impls import load, unsupported  # noqa: E402
from impls.given.user_network import UserNetwork  # noqa: E402
from reference import (  # noqa: E402
    MLP,
    Case,
    Conv,
    ConvNet,
    Expected,
    Request,
    case,
    compare,
    draw_params,
    normalised,
    random_case,
    tolerance,
)
from reference.case import DType, Outputs  # noqa: E402
from reference.tolerances import LIMIT_BIAS, LIMIT_STANDARD_ERRORS  # noqa: E402
from tests import ROOT  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

INFINITE = load("neural_tangents.infinite")
RELU = MLP((5, 7, 3), "relu", parameterization="ntk", W_std=1.4, b_std=0.3)


def kernel(of: Case, **request: Any) -> np.ndarray:
    return np.asarray(INFINITE.prepare(of, Request(**{"dtype": "float64", **request}))())


def arc_cosine(x1: np.ndarray, x2: np.ndarray, W_std: float, b_std: float) -> np.ndarray:
    """One hidden ReLU layer: Θ = Σ¹ + W_std² Σ⁰ E[σ'σ'], Σ⁰ = W_std² x·x'/d + b_std², Σ¹ = W_std² E[σσ] + b_std², with
    the arc-cosine expectations of Cho & Saul 2009, equations 4 and 6."""
    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return W_std**2 * (a * b).sum(-1) / x1.shape[1] + b_std**2

    cross = covariance(x1[:, None], x2[None])
    norm = np.sqrt(np.multiply.outer(covariance(x1, x1), covariance(x2, x2)))
    angle = np.arccos(np.clip(cross / norm, -1, 1))
    relu = norm * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    derivative = (np.pi - angle) / (2 * np.pi)
    return W_std**2 * relu + b_std**2 + W_std**2 * cross * derivative


def by_hand(of: Case) -> Expected:
    network = of.network
    assert isinstance(network, MLP)
    b_std = network.b_std if network.bias else 0.0
    x2 = of.x1 if of.x2 is None else of.x2
    identity = np.eye(network.n_outputs)

    def theta(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return arc_cosine(a, b, network.W_std, b_std)[:, :, None, None] * identity

    block1, block2 = (np.einsum("nnab->nab", theta(x, x)) for x in (of.x1, x2))
    return Expected(theta(of.x1, x2), block1, block2, "arc-cosine kernel")


@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("dtype", get_args(DType))
def test_arc_cosine(dtype: DType, outputs: Outputs) -> None:
    of = random_case("arc-cosine", RELU, 4, 2)
    values = kernel(of, dtype=dtype, outputs=outputs)
    comparison = compare(values, by_hand(of), outputs=outputs, dtype=dtype, symmetric=False)
    assert comparison.ok, comparison.reason


def test_without_bias() -> None:
    of = random_case("arc-cosine", replace(RELU, bias=False), 4, 2)
    comparison = compare(kernel(of), by_hand(of), outputs="full", dtype="float64", symmetric=False)
    assert comparison.ok, comparison.reason


@pytest.mark.parametrize("n2", [None, 4])
def test_blocks(n2: int | None) -> None:
    of = random_case("blocks", replace(RELU, activation="erf"), 5, n2)
    comparison = compare(kernel(of, batch_size=2), in_one_block(of), outputs="full", dtype="float64",
                         symmetric=of.symmetric)
    assert comparison.ok, comparison.reason


@pytest.mark.parametrize("dtype", get_args(DType))
def test_relu_keeps_half_the_digits_on_the_diagonal(dtype: DType) -> None:
    """√(Σ_nn Σ_mm − Σ_nm²), 0 in truth, may come out as √ε: XLA's order of the products decides. No more is lost."""
    of = random_case("diagonal", replace(RELU, widths=(5, 7, 1)), 40, None)
    truth = by_hand(of)
    errors = normalised(kernel(of, dtype=dtype).astype(np.float64) - truth.full, truth.scale("full"))[..., 0, 0]
    assert np.diag(errors).max() < np.sqrt(np.finfo(dtype).eps)
    assert errors[~np.eye(len(errors), dtype=bool)].max() < tolerance(dtype)


def in_one_block(of: Case) -> Expected:
    """What the method itself gives without blocks, with the diagonal blocks that normalise it."""
    block1, block2 = (np.einsum("nnab->nab", kernel(replace(of, x1=x, x2=None)))
                      for x in (of.x1, of.x1 if of.x2 is None else of.x2))
    return Expected(kernel(of), block1, block2, "one block")


@pytest.mark.parametrize("head", ["global", "flatten"])
def test_convolution_of_one_pixel_is_dense(head: Any) -> None:
    mlp = random_case("one pixel", RELU, 4, 2)
    conv = ConvNet((5, 1, 1), (Conv(7, (1, 1)),), (3,), head, "relu", parameterization="ntk", W_std=1.4, b_std=0.3)
    assert mlp.x2 is not None
    of = Case("one pixel", conv, draw_params(conv, np.random.default_rng(0)), mlp.x1[..., None, None],
              mlp.x2[..., None, None])
    comparison = compare(kernel(of), by_hand(mlp), outputs="full", dtype="float64", symmetric=False)
    assert comparison.ok, comparison.reason


def widened(width: int) -> tuple[MLP, ConvNet]:
    common: Any = {"parameterization": "ntk", "W_std": 1.4, "b_std": 0.75}
    return (MLP((3, width, width, 1), "gelu", **common),
            ConvNet((2, 4, 4), (Conv(width, (3, 3), padding=(1, 1), pool=(2, 2)),), (1,), "global", "erf", **common))


@pytest.mark.parametrize("index", [0, 1], ids=["MLP", "ConvNet"])
@pytest.mark.parametrize("width", [8, 64])
def test_average_of_finite_networks(index: int, width: int) -> None:
    """The average over draws of the finite-width kernel, by the method that needs no infinite width, at O(1/width)."""
    n_draws, rng = 64, np.random.default_rng(0)
    network = widened(width)[index]
    of = random_case("average", network, 3, None)
    finite: Any = load("neural_tangents.structured_derivatives")
    f, _, x, _ = _functional(of)
    draws = np.stack([np.asarray(finite.kernel(f, _params(network, rng), x, None, Request(dtype="float64")))
                      for _ in range(n_draws)])
    limit = in_one_block(of)
    slack = (LIMIT_STANDARD_ERRORS * draws.std(0, ddof=1) / np.sqrt(n_draws)
             + LIMIT_BIAS / width * limit.scale("full"))
    assert (np.abs(draws.mean(0) - limit.full) <= slack).all(), normalised(draws.mean(0) - limit.full,
                                                                          limit.scale("full"))


def _functional(of: Case) -> Any:
    from impls.networks import stax as stax_networks

    return stax_networks.functional(of, Request(dtype="float64"))


def _params(network: MLP | ConvNet, rng: np.random.Generator) -> Any:
    from impls.frameworks.jax import support as jax_support
    from impls.networks import stax as stax_networks

    with jax_support.precision("float64"):
        return jax_support.place(stax_networks.parameters(network, draw_params(network, rng)),
                                 Request(dtype="float64"))


IMAGES = """
import numpy as np
from impls import load
from reference import Conv, ConvNet, Request, random_case
conv = Conv(16, padding=(1, 1))
network = ConvNet((1, 8, 8), (conv, conv), (1,), "global", "relu", parameterization="ntk", W_std=2**0.5, b_std=0.1)
kernel = load("neural_tangents.infinite").prepare(random_case("images", network, 16, None), Request(dtype="float64"))()
print(np.asarray(kernel).shape)
"""


def test_images_in_a_batch_of_ordinary_size() -> None:
    """Compiled as users compile it, without the tests' own flags, the program of 16 images ended the process."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run([sys.executable, "-c", IMAGES], cwd=ROOT, env=environment, capture_output=True, text=True,
                          timeout=300)
    assert done.stdout == "(16, 16, 1, 1)\n", (done.returncode, done.stderr)


def test_relu_in_blocks_is_unsupported() -> None:
    of = random_case("blocks", RELU, 5, None)
    assert "half the digits" in str(unsupported(INFINITE, of, Request(batch_size=2)))
    assert unsupported(INFINITE, of, Request()) is None


@pytest.mark.parametrize(("of", "reason"), [
    (random_case("standard", MLP((3, 4, 2)), 2, None), "has no limit"),
    (case("mlp_tanh_ntk"), "tanh has no closed form"),
    (random_case("padding", ConvNet((1, 4, 4), (Conv(2, (3, 3), padding=(2, 2)),), (2,), parameterization="ntk"), 2,
                 None), "neither is padding=(2, 2)"),
    (Case("own", UserNetwork("jax", None), {}, np.ones((2, 3))), "not for a model of the user's own"),
], ids=["standard", "tanh", "padding", "own"])
def test_unsupported(of: Case, reason: str) -> None:
    assert reason in str(unsupported(INFINITE, of, Request()))


def recursion(x: np.ndarray, depth: int, W_std: float, b_std: float) -> np.ndarray:
    """The kernel of `depth` hidden ReLU layers for one output, by the arc-cosine recursion in long double."""
    rows, weight, bias = x.astype(np.longdouble), np.longdouble(W_std)**2, np.longdouble(b_std)**2
    values = weight * (rows @ rows.T) / rows.shape[1] + bias
    tangents = values.copy()
    for _ in range(depth):
        norms = np.sqrt(np.multiply.outer(np.diag(values), np.diag(values)))
        angle = np.arccos(np.clip(values / norms, -1, 1))
        slopes = weight * (np.pi - angle) / (2 * np.pi)
        values = weight * norms * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi) + bias
        tangents = values + slopes * tangents
    return tangents.astype(float)


@pytest.mark.parametrize(("network", "x"), [
    (MLP((1, 4, 4, 1), "relu", parameterization="ntk", W_std=1.5, b_std=0.0625), np.linspace(-30, 30, 61)[:, None]),
    (MLP((6, *(4,) * 15, 1), "relu", parameterization="ntk", W_std=16.0, b_std=0.5), np.arange(1.0, 13).reshape(2, 6)),
], ids=["one_dimensional", "deep_and_large"])
def test_float32_is_right_where_float32_arithmetic_is_not(network: MLP, x: np.ndarray) -> None:
    """Of inputs on a line the kernel is nearly singular, and 16 ** 60 overflows in a product of two variances."""
    of = Case("line", network, {name: np.zeros(shape) for name, shape in network.param_shapes().items()}, x, None)
    values = kernel(of, outputs="trace", dtype="float32")
    right = recursion(x, len(network.widths) - 2, network.W_std, network.b_std)
    assert values.dtype == np.float32
    scale = np.sqrt(np.multiply.outer(np.diag(right), np.diag(right)))
    assert (np.abs(values - right) / scale).max() <= tolerance("float32")
    smallest = np.linalg.eigvalsh(values.astype(float)).min()
    assert smallest >= -tolerance("float32", "positivity") * np.trace(right)
