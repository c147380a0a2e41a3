"""Networks of layers: every layer's derivatives against differences and closed forms, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from reference import (
    MLP,
    Case,
    InputError,
    KinkError,
    Layered,
    case,
    compare,
    expected,
    float64_expected,
    random_case,
)
from reference.arithmetic import FLOAT64, Function
from reference.checks import check_difference, difference
from reference.layers import (
    Activate,
    Attention,
    BatchNorm,
    Convolution,
    CoordinateActivation,
    Dense,
    Embedding,
    FourierFeatures,
    GlobalPool,
    LayerNorm,
    Positions,
    Recurrent,
    Residual,
    RMSNorm,
    Unused,
    WeightNormDense,
)
from reference.networks import Activation
from reference.oracle import prove
from reference.tape import Node, Tape, concatenate, elementwise, multiply, reshape, total, transpose

LAYERS: dict[str, Layered] = {
    "dense": Layered((2, 3), (Dense("a", 2), Dense("b", 2, bias=False))),
    "weight_norm": Layered((3,), (WeightNormDense("a", 2),)),
    "convolution": Layered((2, 4, 3), (Convolution("a", 4, (2, 3), (2, 1), (1, 2), (1, 2), groups=2), GlobalPool())),
    "batch_norm": Layered((2, 2, 2), (Convolution("a", 2, (1, 1)), BatchNorm("b"), Activate("tanh"), GlobalPool())),
    "layer_norm": Layered((3,), (Dense("a", 3), LayerNorm("b"), Dense("c", 2))),
    "rms_norm": Layered((2, 3), (Dense("a", 2), RMSNorm("b"))),
    "fourier": Layered((2,), (FourierFeatures("a", 2), Dense("b", 2))),
    "attention": Layered((3, 4), (Positions("a"), Attention("b", 2, causal=False))),
    "causal_attention": Layered((3, 4), (Positions("a"), Attention("b", 2))),
    "recurrent": Layered((3, 2), (Recurrent("a", 2),)),
    "residual": Layered((2,), (
        Residual((Dense("a", 2), Activate("sin")), (Dense("b", 2),)), Residual((Dense("c", 2),)))),
    "tied": Layered((2,), (Dense("a", 2), Activate("tanh"), Dense("a", 2))),
    "tied_embedding": Layered((2,), (Embedding("a", 3, 2), Activate("tanh"), Dense("a", 3, bias=False))),
    "unused": Layered((2,), (Dense("a", 2), Unused("b", (2, 1)))),
} | {name: Layered((2,), (Dense("a", 2), Activate(name, 2.5, 0.75), Dense("b", 1)))
     for name in (*get_args(Activation), *get_args(CoordinateActivation))}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_derivative_is_the_limit_of_differences(layer: str) -> None:
    small = random_case(f"differences {layer}", LAYERS[layer], 1, None)
    for name, value in small.params.items():
        for index in np.ndindex(value.shape):
            direction = {other: np.zeros(array.shape) for other, array in small.params.items()}
            direction[name][index] = 1.0
            check_difference(difference(small, small.x1[0], direction), f"{name}{index}")


def test_primitives_against_differences() -> None:
    rng = np.random.default_rng(0)
    start, cotangent = rng.uniform(0.5, 2.0, (2, 3)), rng.standard_normal((3, 2))

    def output(leaf: Node) -> Node:
        bent = leaf
        for name in get_args(Function):
            bent = elementwise(bent, *FLOAT64.functions[name])
        joined = concatenate([transpose(leaf), transpose(bent)], axis=1)  # (3, 4)
        weighted = multiply(joined, total(joined, axis=0))
        return multiply(reshape(total(weighted, axis=1), (3, 1)), transpose(leaf))

    def run(values: np.ndarray) -> tuple[float, np.ndarray]:
        tape = Tape(FLOAT64)
        leaf = tape.leaf(values)
        result = output(leaf)
        return float((result.value * cotangent).sum()), tape.gradients(result, cotangent, [leaf])[0]

    step, gradient = 1e-6, run(start)[1]
    for index in np.ndindex(start.shape):
        shift = np.zeros(start.shape)
        shift[index] = step
        slope = (run(start + shift)[0] - run(start - shift)[0]) / (2 * step)
        assert slope == pytest.approx(gradient[index], rel=1e-7)


@pytest.mark.parametrize("name", get_args(Function))
def test_functions_in_float64_are_those_in_balls(name: Function) -> None:
    from reference import balls

    points = np.array([2.0, 0.5, 1e-3])
    if name not in ("sqrt", "reciprocal"):
        points = np.concatenate([points, -points, [0.0]])
    for ours, theirs in zip(FLOAT64.functions[name], balls.BALLS.functions[name], strict=True):
        proved = [float(ball.mid()) for ball in theirs(balls.BALLS.lift(points))]
        np.testing.assert_allclose(ours(points), proved, rtol=1e-12, atol=1e-12)


def test_tied_dense_layers_in_closed_form() -> None:
    """f = w (w x + b) + b: the derivatives are 2 w x + b and w + 1."""
    tied = random_case("tied", Layered((1,), (Dense("a", 1), Dense("a", 1))), 3, 2)
    w, b = tied.params["a.weight"].item(), tied.params["a.bias"].item()
    assert tied.x2 is not None
    due = (2 * w * tied.x1 + b) @ (2 * w * tied.x2 + b).T + (w + 1) ** 2
    np.testing.assert_allclose(float64_expected(tied, range(3), range(2)).outputs("trace"), due, rtol=1e-14)


def test_a_frozen_parameter_has_no_share() -> None:
    """f = v w x with w frozen: the kernel is w x · w y."""
    frozen = random_case("frozen", Layered(
        (1,), (Dense("w", 1, bias=False), Dense("v", 1, bias=False)), frozen=("w.weight",)), 2, 3)
    assert set(frozen.params) == {"v.weight"}
    assert set(frozen.constants) == {"w.weight"}
    assert frozen.x2 is not None
    due = frozen.constants["w.weight"].item() ** 2 * frozen.x1 @ frozen.x2.T
    np.testing.assert_allclose(float64_expected(frozen, range(2), range(3)).outputs("trace"), due, rtol=1e-14)


def test_an_unused_parameter_changes_nothing() -> None:
    shared = case("unused_parameter")
    assert isinstance(shared.network, Layered)
    kept = tuple(layer for layer in shared.network.layers if not isinstance(layer, Unused))
    without = replace(shared, network=Layered((5,), kept),
                      params={name: value for name, value in shared.params.items() if name != "spare.weight"})
    # To rounding: how BLAS adds up depends on the number of parameters, and on the processor.
    assert compare(float64_expected(without, range(4), range(2)).full, float64_expected(shared, range(4), range(2)),
                   outputs="full", dtype="float64", symmetric=False).ok


def test_layers_of_a_network_that_is_also_an_mlp() -> None:
    """Two descriptions, and two forward passes, of one network."""
    mlp = case("mlp_relu")
    layered = replace(mlp, network=Layered((6,), (Dense("dense0", 11), Activate("relu"), Dense("dense1", 3))))
    np.testing.assert_allclose(float64_expected(layered, range(4), range(2)).full, expected(mlp).full, rtol=1e-13)


def test_causal_attention_sees_nothing_that_comes_later() -> None:
    causal = random_case("causal", LAYERS["causal_attention"], 1, None)
    later = causal.x1.copy()
    later[0, -1] *= 2.0
    n_before = 2 * 4  # outputs (position, feature) of the first two of the three positions
    before, after = (float64_expected(replace(causal, x1=x), [0], [0]).full[0, 0, :n_before, :n_before]
                     for x in (causal.x1, later))
    np.testing.assert_array_equal(before, after)


def test_sinc_at_zero_and_a_kink() -> None:
    flat = random_case("flat", Layered((2,), (Dense("a", 2, bias=False), Activate("sinc"), Dense("b", 1))), 1, None)
    at_zero = replace(flat, x1=np.zeros((1, 2)))
    assert prove(at_zero).radius < 1e-30
    assert float64_expected(at_zero, [0], [0]).full.item() == 3.0  # sinc(0)² for two weights, 1 for the bias
    kink = replace(at_zero, network=Layered((2,), (Dense("a", 2, bias=False), Activate("relu"), Dense("b", 1))))
    with pytest.raises(KinkError, match="example 0 of x1, layer relu: ReLU has no derivative at 0"):
        prove(kink)


REFUSED_INPUTS: dict[str, tuple[str, Any, str]] = {
    "floats for tokens": ("transformer", np.zeros((1, 3)), "must be an array of integers, .* tokens, got float64"),
    "token too large": ("transformer", np.array([[0, 5, 1]]), r"token 5 at index \(0, 1\); the network knows 0 to 4"),
    "negative token": ("transformer", np.array([[0, 1, -1]]), r"token -1 at index \(0, 2\)"),
    "length": ("transformer", np.array([[0, 1]]), r"examples of shape \(2,\), but the network takes \(3,\)"),
    "integers for numbers": ("norms", np.zeros((1, 5), int), "must be a floating-point array, got int64"),
}


@pytest.mark.parametrize("what", REFUSED_INPUTS)
def test_inputs_that_do_not_fit_are_refused(what: str) -> None:
    name, x, message = REFUSED_INPUTS[what]
    shared = case(name)
    with pytest.raises(InputError, match=f"x1 .*{message}"):
        Case(name, shared.network, shared.params, x, None, shared.constants)


def test_tokens_of_any_integer_type_mean_the_same() -> None:
    shared = case("transformer")
    assert shared.x2 is not None
    small = replace(shared, x1=shared.x1.astype(np.uint8), x2=shared.x2.astype(np.int32))
    np.testing.assert_array_equal(expected(small).full, expected(shared).full)
    np.testing.assert_array_equal(float64_expected(small, [0], [0]).full, float64_expected(shared, [0], [0]).full)


def test_constants_belong_to_the_case() -> None:
    shared = case("residual_batch_norm")
    with pytest.raises(InputError, match=r"constants \{\} do not fit the network"):
        replace(shared, constants={})
    moved = {name: value / 2 for name, value in shared.constants.items()}
    with pytest.raises(InputError, match="has no proved kernel"):
        expected(replace(shared, constants=moved))
    with pytest.raises(InputError, match=r"constants .* do not fit the network, which needs \{\}"):
        Case("mlp", MLP((2, 1)), {"dense0.weight": np.ones((1, 2)), "dense0.bias": np.ones(1)}, np.ones((1, 2)),
             constants={"spare": np.ones(1)})


REFUSED_NETWORKS: dict[str, tuple[dict[str, Any], str]] = {
    "frozen": ({"layers": (Dense("a", 2),), "frozen": ("b.weight",)}, "no parameter b.weight; known are a.weight"),
    "tied": ({"layers": (Dense("a", 2), Dense("a", 3))}, r"a.weight is used with the shapes \(2, 4\) and \(3, 2\)"),
    "residual": ({"layers": (Residual((Dense("a", 2),)),)}, r"adds shapes \(2,\) \(body\) and \(4,\) \(shortcut\)"),
}


@pytest.mark.parametrize("what", REFUSED_NETWORKS)
def test_networks_that_cannot_be_are_refused(what: str) -> None:
    arguments, message = REFUSED_NETWORKS[what]
    with pytest.raises(ValueError, match=message):
        Layered((4,), **arguments)
