"""The oracle against closed forms and differences, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from typing import Any, get_args

import flint
import numpy as np
import pytest

from reference import MLP, Case, Conv, ConvNet, InputError, KinkError, case, kernel, random_case
from reference.checks import WitnessError, check_difference, difference
from reference.networks import Activation
from reference.oracle import RADIUS_LIMIT, ProofError, prove


def exact(array: np.ndarray) -> np.ndarray:
    """Fractions of the same value."""
    return np.array([Fraction(float(value)) for value in array.ravel()], dtype=object).reshape(array.shape)


def encloses(ball: Any, value: Fraction) -> bool:
    with flint.ctx.workprec(512):
        return bool(ball.overlaps(flint.arb(value.numerator) / flint.arb(value.denominator)))


def test_linear_model_in_closed_form() -> None:
    linear = case("linear")
    assert linear.x2 is not None
    proof, inner = prove(linear), exact(linear.x1) @ exact(linear.x2).T + Fraction(1)
    for n, m, a, b in np.ndindex(proof.full.shape):
        due = inner[n, m] if a == b else Fraction(0)
        assert encloses(proof.full[n, m, a, b], due)
        assert kernel(linear)[n, m, a, b] == float(due)


def test_two_layer_relu_net_by_hand_in_fractions() -> None:
    two_layer = case("mlp_relu")
    assert two_layer.x2 is not None
    weight, bias, head = (exact(two_layer.params[name]) for name in ("dense0.weight", "dense0.bias", "dense1.weight"))
    proof = prove(two_layer)
    for n, x in enumerate(exact(two_layer.x1)):
        for m, y in enumerate(exact(two_layer.x2)):
            u, v = weight @ x + bias, weight @ y + bias
            both = np.array([int(p > 0 and q > 0) for p, q in zip(u, v, strict=True)])
            features = 1 + sum(p * q * on for p, q, on in zip(u, v, both, strict=True))
            for a, b in np.ndindex(3, 3):
                due = (1 + x @ y) * (head[a] * head[b] * both).sum() + (features if a == b else 0)
                assert encloses(proof.full[n, m, a, b], due)
                assert kernel(two_layer)[n, m, a, b] == float(due)


def test_two_layer_tanh_net_by_hand_in_balls() -> None:
    two_layer = case("mlp_few_parameters")
    assert two_layer.x2 is not None
    proved: Any = prove(two_layer).full
    arb = flint.arb
    weight, bias, head = (two_layer.params[name] for name in ("dense0.weight", "dense0.bias", "dense1.weight"))

    def dot(u: np.ndarray, v: np.ndarray, start: float) -> flint.arb:
        total = arb(float(start))
        for p, q in zip(u, v, strict=True):
            total += arb(float(p)) * float(q)
        return total

    with flint.ctx.workprec(256):
        for n, m, a, b in np.ndindex(proved.shape):
            x, y = two_layer.x1[n], two_layer.x2[m]
            h, k = ([dot(weight[i], z, bias[i]).tanh() for i in range(2)] for z in (x, y))
            due = (1 + h[0] * k[0] + h[1] * k[1]) if a == b else arb(0)
            for i in range(2):
                slopes = (1 - h[i] ** 2) * (1 - k[i] ** 2)
                due += dot(x, y, 1.0) * float(head[a, i]) * float(head[b, i]) * slopes
            assert due.overlaps(proved[n, m, a, b])
            assert due.rad() < 2.0**-200


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_every_derivative_is_the_limit_of_differences(kind: str, activation: Activation) -> None:
    ntk = {"parameterization": "ntk", "W_std": 1.5, "b_std": 0.5} if activation in ("tanh", "gelu") else {}
    conv = Conv(2, (3, 2), stride=(1, 2), padding=(1, 1), pool=(2, 1))
    network = MLP((3, 4, 2), activation, **ntk) if kind == "mlp" else ConvNet(
        (1, 4, 3), (conv,), (2,), "global" if activation == "erf" else "flatten", activation, **ntk)
    small = random_case(f"differences {kind} {activation}", network, 1, None)
    for name, value in small.params.items():
        for index in np.ndindex(value.shape):
            direction = {other: np.zeros(array.shape) for other, array in small.params.items()}
            direction[name][index] = 1.0
            check_difference(difference(small, small.x1[0], direction), f"{name}{index}")


def test_a_derivative_that_is_slightly_off_is_noticed() -> None:
    small = random_case("off", MLP((2, 3, 2), "sin"), 1, None)
    right = difference(small, small.x1[0], {name: np.ones(value.shape) for name, value in small.params.items()})
    check_difference(right, "right")
    with flint.ctx.workprec(320):
        off = replace(right, by_tape=right.by_tape + flint.arb(2.0**-110))
        too_coarse = replace(right, coarse=right.coarse + flint.arb(2.0**-90))
    too_wide = replace(right, by_tape=right.by_tape + flint.arb(0, 2.0**-90))
    with pytest.raises(WitnessError, match="example 0: the tape gives"):
        check_difference(off, "example 0")
    for uncertain in (too_coarse, too_wide):
        with pytest.raises(WitnessError, match="example 0: too wide to tell"):
            check_difference(uncertain, "example 0")


@pytest.mark.parametrize("layer", ["dense0", "conv0"])
def test_an_input_on_a_kink_is_refused_with_its_place(layer: str) -> None:
    conv_net = ConvNet((1, 2, 2), (Conv(2, (2, 2)),), (1,), bias=False)
    network = MLP((2, 3, 1), bias=False) if layer == "dense0" else conv_net
    drawn = random_case("kink", network, 3, None)
    x1 = drawn.x1.copy()
    x1[2] = 0.0
    with pytest.raises(KinkError, match=f"example 2 of x1, layer {layer}: ReLU has no derivative at 0"):
        prove(Case("kink", network, drawn.params, x1))


def test_radius_and_precision() -> None:
    before = flint.ctx.prec
    proof = prove(case("mlp_tanh_ntk"))
    assert 0 < proof.radius < RADIUS_LIMIT
    assert proof.bits == 128
    assert flint.ctx.prec == before


def test_too_few_bits_are_doubled() -> None:
    proof = prove(case("mlp_tanh_ntk"), prec_bits=40)
    assert proof.bits in (80, 160)
    assert proof.radius < RADIUS_LIMIT


def test_a_proof_that_no_precision_brings_about_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference.oracle.RADIUS_LIMIT", 2.0**-5000)
    before = flint.ctx.prec
    with pytest.raises(ProofError, match="at 1024 bits"):
        prove(case("mlp_tanh_ntk"))
    assert flint.ctx.prec == before


def test_a_network_that_it_does_not_know_is_refused() -> None:
    class Other:
        input_shape = n_outputs = n_tokens = None

        def param_shapes(self) -> dict[str, tuple[int, ...]]:
            return {}

        constant_shapes = param_shapes

    with pytest.raises(InputError, match="the oracle proves the networks of reference, not Other"):
        prove(Case("other", Other(), {}, np.ones((1, 2))))


def test_flint_is_imported_only_to_prove() -> None:
    code = ("import sys, reference; reference.kernel(reference.case('linear'));"
            "sys.exit(any(name in sys.modules for name in ('flint', 'jax', 'torch')))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
