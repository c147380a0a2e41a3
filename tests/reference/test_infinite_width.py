"""The infinite-width kernel: its two expectations against quadrature, its layers against what they must agree with.

tests/planted/test_gate_limit.py has it against averages at finite width.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import flint
import numpy as np
import pytest

from reference import (
    MLP,
    Case,
    Conv,
    ConvNet,
    InputError,
    has_limit,
    infinite_width,
    normalised,
    random_case,
    tolerance,
)
from reference.arithmetic import FLOAT64
from reference.infinite_width import _MOMENTS
from reference.networks import Activation
from reference.oracle import ProofError, check_radii

NTK: Any = {"parameterization": "ntk", "W_std": 1.5, "b_std": 0.25}
COVARIANCES = [(1.0, 1.0, 0.0), (0.5, 2.0, 0.75), (3.0, 1.0, -1.5), (2.0, 2.0, 2.0), (1.0, 4.0, -2.0)]
"""Variances and covariance: independent, correlated, parallel, opposite."""


def by_quadrature(activation: Activation, own1: float, own2: float, cross: float) -> tuple[float, float]:
    """The trapezoidal rule in two independent variables, which for entire functions is exact to the last digits; ReLU
    in polar coordinates, where the radius integrates to 2."""
    functions = FLOAT64.activations[activation]
    if activation == "relu":
        angle = math.acos(cross / math.sqrt(own1 * own2))
        nodes, weights = np.polynomial.legendre.leggauss(40)
        low, high = angle - math.pi / 2, math.pi / 2
        at, weights = (low + high) / 2 + (high - low) / 2 * nodes, (high - low) / 2 * weights / (2 * math.pi)
        value = (weights * np.cos(at) * np.cos(at - angle)).sum() * 2 * math.sqrt(own1 * own2)
        return float(value), float(weights.sum())
    nodes = np.arange(-9, 9, 0.04)
    weights = np.exp(-(nodes**2) / 2) * 0.04 / math.sqrt(2 * math.pi)
    along = cross / math.sqrt(own1)
    u = math.sqrt(own1) * nodes[:, None]
    v = along * nodes[:, None] + math.sqrt(own2 - along**2) * nodes
    value, slope = (float(weights @ (one(u) * one(v)) @ weights) for one in functions)
    return value, slope


@pytest.mark.parametrize("activation", _MOMENTS)
@pytest.mark.parametrize("covariance", COVARIANCES, ids=str)
def test_expectations_by_quadrature(activation: Activation, covariance: tuple[float, float, float]) -> None:
    with flint.ctx.workprec(128):
        found = [float(ball.mid()) for ball in _MOMENTS[activation](*map(flint.arb, covariance))]
    np.testing.assert_allclose(found, by_quadrature(activation, *covariance), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", _MOMENTS)
def test_the_slope_is_the_derivative_of_the_value(activation: Activation) -> None:
    """Price's theorem, by central differences at a precision that float64 does not have."""
    with flint.ctx.workprec(512):
        own1, own2, cross, step = flint.arb(0.75), flint.arb(1.5), flint.arb(0.5), flint.arb(2) ** -80
        right, left = (_MOMENTS[activation](own1, own2, cross + sign * step)[0] for sign in (1, -1))
        difference = (right - left) / (2 * step) - _MOMENTS[activation](own1, own2, cross)[1]
        assert abs(difference) < flint.arb(2) ** -140


def test_parallel_examples_in_closed_form() -> None:
    """Without biases, n layers of ReLU: n W² (W²/2)^(n−1) x·x'/d, where float64 would lose half the digits."""
    x = np.array([[1.0, -2.0, 0.5], [3.0, -6.0, 1.5]])
    of = replace(random_case("parallel", MLP((3, 4, 4, 4, 2), bias=False, **NTK), 2, None), x1=x)
    due = 4 * 2.25 * 1.125**3 * x @ x.T / 3
    np.testing.assert_allclose(infinite_width(of).full[..., 1, 1], due, rtol=1e-15)
    np.testing.assert_array_equal(infinite_width(of).full[..., 0, 1], 0)


def pixels(of: Case) -> Case:
    """Every pixel of every image as an example of an MLP with the same layers."""
    network = of.network
    assert isinstance(network, ConvNet)
    x = of.x1.transpose(0, 2, 3, 1).reshape(-1, of.x1.shape[1])
    own = MLP((x.shape[1], 4, *network.dense), network.activation, network.bias, network.parameterization,
              network.W_std, network.b_std)
    return replace(random_case("pixels", own, 1, None), x1=x)


@pytest.mark.parametrize("pool", [None, (2, 1)])
@pytest.mark.parametrize("head", ["flatten", "global"])
def test_a_convolution_of_one_pixel_is_an_mlp_on_pixels(head: Any, pool: tuple[int, int] | None) -> None:
    """With one dense layer its kernel is the mean over the pairs of pixels that head and pooling bring together."""
    of = random_case("one pixel", ConvNet((2, 4, 2), (Conv(3, (1, 1), pool=pool),), (2,), head, "gelu", **NTK), 3, None)
    pairs = infinite_width(pixels(of)).full[..., 0, 0].reshape(3, 4, 2, 3, 4, 2)
    if pool is not None:
        pairs = pairs.reshape(3, 2, 2, 2, 3, 2, 2, 2).mean((2, 6))
    own = np.einsum("nhwmhw->nmhw", pairs).mean((2, 3))
    due = pairs.mean((1, 2, 4, 5)) if head == "global" else own
    np.testing.assert_allclose(infinite_width(of).full[..., 1, 1], due, rtol=1e-14)


def test_a_convolution_of_the_whole_image_is_an_mlp() -> None:
    of = random_case("whole", ConvNet((2, 3, 2), (Conv(3, (3, 2)),), (4, 2), "flatten", "relu", **NTK), 3, 2)
    assert of.x2 is not None
    flat = replace(random_case("flat", MLP((12, 4, 4, 2), "relu", **NTK), 1, None),
                   x1=of.x1.reshape(3, 12), x2=of.x2.reshape(2, 12))
    np.testing.assert_allclose(infinite_width(of).full, infinite_width(flat).full, rtol=1e-15)


def test_zeros_in_the_padding() -> None:
    """Windows over the edge of the image are those over an image with zeros around it."""
    padded = ConvNet((1, 3, 2), (Conv(3, (2, 2), (2, 1), (1, 2)),), (2,), "flatten", "erf", **NTK)
    of = random_case("padded", padded, 2, None)
    wider = replace(padded, input_shape=(1, 5, 6), convs=(Conv(3, (2, 2), (2, 1)),))
    around = replace(random_case("around", wider, 1, None), x1=np.pad(of.x1, ((0, 0), (0, 0), (1, 1), (2, 2))))
    np.testing.assert_allclose(infinite_width(of).full, infinite_width(around).full, rtol=1e-15)


def test_x2_and_the_diagonal_blocks() -> None:
    of = random_case("blocks", MLP((3, 4, 2), "gelu", **NTK), 3, 2)
    assert of.x2 is not None
    both = infinite_width(replace(of, x1=np.concatenate([of.x1, of.x2]), x2=None))
    found = infinite_width(of)
    np.testing.assert_array_equal(found.full, both.full[:3, 3:])
    np.testing.assert_array_equal(found.block1, both.block1[:3])
    np.testing.assert_array_equal(found.block2, both.block1[3:])
    assert normalised(both.full - both.full.transpose(1, 0, 3, 2), both.scale("full")).max() <= tolerance("float64")


@pytest.mark.parametrize("network", [MLP((3, 4, 2), "tanh", **NTK), MLP((3, 4, 2))], ids=["tanh", "standard"])
def test_a_network_without_a_limit_in_closed_form_is_refused(network: MLP) -> None:
    assert not has_limit(network)
    with pytest.raises(InputError, match="no infinite-width kernel in closed form is known for MLP"):
        infinite_width(random_case("none", network, 2, None))


def test_an_undefined_kernel_is_refused() -> None:
    """ReLU without biases has no derivative at an example of zeros. flint's precision is left as it was."""
    of = replace(random_case("zeros", MLP((3, 4, 2), bias=False, **NTK), 2, None), x1=np.zeros((2, 3)))
    before = flint.ctx.prec
    with pytest.raises(ProofError, match=r"case 'zeros': the infinite-width kernel is nan at \(0, 0\)"):
        infinite_width(of)
    assert flint.ctx.prec == before


def test_a_wide_ball_is_refused() -> None:
    theta = np.array([[flint.arb(1, 2.0**-60)]], dtype=object)
    with pytest.raises(ProofError, match="too wide to tell"):
        check_radii(theta, "a kernel")
