"""The dimensions in which users go beyond the stored cases; each gives cases and how they are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reference import MLP, Case, Conv, ConvNet, Layered, Request, round_to_float32
from reference.layers import (
    Activate,
    Attention,
    BatchNorm,
    Convolution,
    Dense,
    Embedding,
    GlobalPool,
    Layer,
    LayerNorm,
    Positions,
    Recurrent,
    Residual,
    RMSNorm,
    WeightNormDense,
)
from tests.gate.drawn import Asked, Draws, dimension

MANY, BOTH = (514, 600), (257, 280)
"""Examples in one of x1 and x2, and in both."""
OUTPUTS = (257, 310)
LONG = (130, 160)
"""Positions, where each has an output of its own."""


@dimension
def many_examples_in_x1(draw: Draws) -> list[Asked]:
    n1, n2 = draw.between(*MANY), draw.between(2, 5)
    case = draw.case(draw.dense(draw.between(4, 7), draw.between(5, 9), 2), n1, n2)
    return [Asked(f"N1 = {n1}, N2 = {n2}", case, draw.forms(None, 5))]


@dimension
def many_examples_in_x2(draw: Draws) -> list[Asked]:
    n1, n2 = draw.between(2, 5), draw.between(*MANY)
    case = draw.case(draw.dense(draw.between(4, 7), draw.between(5, 9), 2), n1, n2)
    return [Asked(f"N1 = {n1}, N2 = {n2}", case, draw.forms(5, None))]


@dimension
def many_examples_in_both(draw: Draws) -> list[Asked]:
    """With more parameters than rows, so that no kernel of lower rank is this one."""
    n1, n2 = draw.between(*BOTH), draw.between(*BOTH)
    network = MLP((draw.between(20, 30), draw.between(45, 60), 2), draw.one_of("tanh", "erf", "sin"), b_std=0.5)
    same, other = draw.case(network, n1, None), draw.case(network, n1, n2 + (n1 == n2))
    return [Asked(f"{n1} examples and x2 = x1", same, draw.forms(None, draw.between(65, 120))),
            Asked(f"N1 = {n1}, N2 = {len(other.x2 if other.x2 is not None else ())}", other,
                  draw.forms(draw.between(65, 120), None)[:3])]


@dimension
def many_outputs(draw: Draws) -> list[Asked]:
    n_outputs = draw.between(*OUTPUTS)
    network = draw.dense(4, draw.between(5, 9), n_outputs)
    return [Asked(f"{n_outputs} outputs", draw.case(network, 2, 1), draw.forms(None, 1)),
            Asked(f"{n_outputs} outputs, one example", draw.case(network, 1, None), draw.forms(None)[:3])]


@dimension
def outputs_and_examples(draw: Draws) -> list[Asked]:
    """More of both than in any stored case, in many blocks of 5."""
    n_outputs, n1, n2 = draw.between(33, 40), draw.between(66, 80), draw.between(6, 9)
    case = draw.case(draw.dense(3, draw.between(5, 9), n_outputs), n1, n2)
    turned = replace(case, x1=case.x2, x2=case.x1) if case.x2 is not None else case
    return [Asked(f"{n_outputs} outputs, N1 = {n1}, N2 = {n2}", case, draw.forms(5, None)),
            Asked(f"{n_outputs} outputs, N1 = {n2}, N2 = {n1}", turned, draw.forms(None, 5)[:3])]


@dimension
def many_parameters(draw: Draws) -> list[Asked]:
    """More than 2²⁰, in one weight; and more than 2¹⁶, in several."""
    inputs = draw.between(850, 1250)
    width = 2**20 // inputs + draw.between(3, 60)
    large, middle = draw.dense(inputs, width, 3), draw.dense(draw.between(150, 190), *[draw.between(260, 300)] * 2, 3)
    return [Asked(f"widths {large.widths}", draw.case(large, 2, 1), draw.forms(None, 1)),
            Asked(f"widths {middle.widths}", draw.case(middle, 2, 3), draw.forms(None, 1)[:3])]


@dimension
def depth(draw: Draws) -> list[Asked]:
    n_hidden = draw.between(17, 24)
    widths = [draw.between(4, 8) for _ in range(n_hidden)]
    network = replace(draw.dense(5, *widths, 3), activation=draw.one_of("tanh", "erf"), W_std=1.1, b_std=0.25)
    return [Asked(f"{n_hidden} hidden layers", draw.case(network, 3, 2), draw.forms(None, 2))]


@dimension
def large_images(draw: Draws) -> list[Asked]:
    """Kernels of 5×5 and strides of 3, an even kernel after them, padding of one axis alone; many channels."""
    height, width = draw.between(33, 40), draw.between(17, 30)
    kernel, stride = draw.one_of((4, 2), (2, 4)), draw.one_of((1, 2), (2, 1))
    # A kernel of 2 with a stride of 2 gets none: its gradient would end the process of any method in JAX
    # (impls.frameworks.jax.convolutions).
    padding = (0, 1) if (kernel[0], stride[0]) == (2, 2) else (1, 0)
    convs = (Conv(draw.between(4, 6), (5, 5), stride=(3, 3), padding=draw.one_of((2, 0), (0, 2), (2, 1))),
             Conv(draw.between(33, 40), kernel, stride, padding=padding))
    network = ConvNet((3, height, width), convs, (3,), draw.one_of("flatten", "global"),
                      draw.one_of("tanh", "gelu", "erf"), W_std=1.25)
    return [Asked(f"images of {height}×{width}, {convs}", draw.case(network, 3, 2), draw.forms(None, 2))]


@dimension
def grouped_and_dilated(draw: Draws) -> list[Asked]:
    """Three groups, dilation together with strides, even kernels, another padding on each axis."""
    side = draw.between(18, 24)
    first = Convolution("wide", 6, (4, 2), stride=draw.one_of((3, 2), (2, 3)), padding=draw.one_of((3, 0), (0, 2)),
                        dilation=draw.one_of((2, 3), (3, 2)), groups=3)
    second = Convolution("narrow", 9, (2, 2), stride=(2, 1), dilation=(1, 2), groups=3, padding=(1, 1))
    layers = (first, BatchNorm("norm"), Activate("tanh"), second, Activate("gelu"), GlobalPool(), Dense("head", 3))
    return [Asked(f"images of side {side}, {first}", draw.case(Layered((3, side, side + 3), layers), 3, 2),
                  draw.forms(None, 2))]


@dimension
def long_sequences(draw: Draws) -> list[Asked]:
    """More than 128 positions under a causal mask and under none, tokens that repeat, an output at each position."""
    length, tokens = draw.between(*LONG), draw.between(5, 9)

    def network(causal: bool) -> Layered:
        block = Residual((LayerNorm("norm1"), Attention("attention", 2, causal)))
        return Layered((length,), (Embedding("tokens", tokens, 4), Positions("positions"), block, Activate("tanh"),
                                   Dense("head", 1)))

    return [Asked(f"{length} positions, causal", draw.case(network(True), 1, 2), draw.forms(None, 1)),
            Asked(f"{length} positions, no mask", draw.case(network(False), 1, None), draw.forms(None)[:2])]


@dimension
def long_recurrences(draw: Draws) -> list[Asked]:
    length = draw.between(65, 130)
    network = Layered((length, 3), (Recurrent("cell", draw.between(4, 6)), Dense("head", 3)))
    return [Asked(f"{length} steps", draw.case(network, 2, 3), draw.forms(None, 2))]


@dimension
def same_examples_in_blocks(draw: Draws) -> list[Asked]:
    """Convolutions, attention, recurrences with x2 = x1, every form in blocks, of more examples than a stored case of
    layers has; as many positions as entries at each; five convolutions, and many outputs behind them."""
    n_many, n_few, n_outputs = draw.between(37, 45), draw.between(9, 13), draw.between(33, 40)
    images = Layered((2, 5, 6), (Convolution("one", 3, (3, 2)), BatchNorm("norm"), Activate("tanh"),
                                 Convolution("two", 4, (2, 2)), Activate("gelu"), GlobalPool(), Dense("head", 2)))
    square = Layered((4, 4), (LayerNorm("norm"), Attention("attention", draw.one_of(2, 4)), Activate("tanh"),
                              Dense("head", 1)))
    steps = Layered((3, 3), (Recurrent("cell", draw.between(17, 20)), Dense("head", 2)))
    narrow = tuple(layer for i in range(5) for layer in (Convolution(f"layer{i}", 3, (2, 2)), Activate("tanh")))
    deep = Layered((2, 7, 8), (*narrow, GlobalPool(), Dense("head", n_outputs)))
    return [Asked(f"images, {n_many} examples and x2 = x1", draw.case(images, n_many, None), draw.forms(7)),
            Asked(f"attention, {n_few} examples and x2 = x1", draw.case(square, n_few, None), draw.forms(4)),
            Asked(f"recurrence, {n_few} examples and x2 = x1", draw.case(steps, n_few, None), draw.forms(4)),
            Asked(f"five convolutions, {n_outputs} outputs", draw.case(deep, 3, 2), draw.forms(2)[:3])]


@dimension
def tied_and_frozen(draw: Draws) -> list[Asked]:
    """A weight that two layers use, its bias, its neighbour's or a norm's frozen; and a tied embedding that is frozen
    with the layers around it trained, or trained with these frozen."""
    width = draw.between(5, 8)
    dense = Layered((4,), (
        Dense("first", width), Activate("tanh"), Dense("middle", width), Activate("tanh"), Dense("middle", width),
        LayerNorm("norm"), Activate("gelu"), Dense("middle", width), Dense("head", 3)),
        frozen=draw.one_of(("middle.bias", "first.weight"), ("middle.weight", "norm.bias"), ("norm.weight",
                                                                                             "middle.bias")))
    tokens = Layered((draw.between(4, 6),), (
        Embedding("tokens", 5, 4), Positions("positions"), Residual((Attention("attention", 2),)), Activate("tanh"),
        Dense("tokens", 5, bias=False)),
        frozen=draw.one_of(("tokens.weight",), ("attention.in_proj_weight", "positions.weight"),
                           ("attention.out_proj.bias",)))
    return [Asked(f"tied, and frozen {dense.frozen}", draw.case(dense, 3, 2), draw.forms(None, 2)),
            Asked(f"tied, and frozen {tokens.frozen}", draw.case(tokens, 2, 1), draw.forms(None, 1)[:3])]


@dimension
def special_points(draw: Draws) -> list[Asked]:
    """Examples of zeros, with units of exactly 0 behind them; sinc at 0; what a norm makes of a constant."""
    found = [_at_zero(draw, Dense("first", 6), Activate("sinc", frequency=3.0)),
             _at_zero(draw, Dense("first", 6), Activate(draw.one_of("gaussian", "wire", "finer"), frequency=2.0,
                                                        rate=0.5)),
             _at_zero(draw, Dense("first", 6), draw.one_of(LayerNorm("norm", eps=0.25), RMSNorm("norm", eps=0.25)),
                      Activate("tanh")),
             _at_zero(draw, WeightNormDense("first", 6), Activate("gelu"))]
    network = draw.dense(4, 6, 5, 3)
    case = draw.case(network, 3, 2, lambda case: _zeros_among_examples(_without_first_bias(case)))
    return [*found, Asked("an example of zeros", case, draw.forms(None, 1))]


def _at_zero(draw: Draws, *layers: Layer) -> Asked:
    """Half of the first layer's units are 0 for an example of zeros, all of them equal for one of them."""
    network = Layered((4,), (*layers, Dense("head", 3)))
    case = draw.case(network, 3, 2, lambda case: _zeros_among_examples(_without_first_bias(case)))
    return Asked(f"an example of zeros before {layers[1]}", case, draw.forms(None)[:3])


def _without_first_bias(case: Case) -> Case:
    name = next(name for name in case.params if name.endswith(".bias"))
    return replace(case, params={**case.params, name: np.zeros_like(case.params[name])})


def _zeros_among_examples(case: Case) -> Case:
    x1 = case.x1.copy()
    x1[1] = 0
    x2 = None if case.x2 is None else case.x2.copy()
    if x2 is not None:
        x2[-1] = 0
    return replace(case, x1=x1, x2=x2)


@dimension
def tiny_and_large(draw: Draws) -> list[Asked]:
    """Kernels of 1e-8 beside those of 1e8, where what is added for safety would show."""
    network = MLP((5, draw.between(6, 9), 3), "relu", bias=False, W_std=1.25)

    def scaled(x: np.ndarray) -> np.ndarray:
        return round_to_float32(x * np.resize([2.0**-14, 1.0, 2.0**15], len(x))[:, None])

    # Kinks are looked for at the scale of 1: ReLU has none elsewhere that this one has not.
    case = draw.case(network, 6, 3)
    assert case.x2 is not None
    case = replace(case, x1=scaled(case.x1), x2=scaled(case.x2))
    return [Asked("examples of scale 2⁻¹⁴, 1 and 2¹⁵", case, draw.forms(None, 2))]


@dimension
def batches_of_one(draw: Draws) -> list[Asked]:
    """One example in x1, in x2, in both; one output, of one example."""
    network, one_output = draw.dense(4, draw.between(5, 9), 3), draw.dense(4, draw.between(5, 9), 1)
    shapes: list[tuple[MLP, int, int | None]] = [
        (network, 1, 1), (network, 1, None), (network, 1, draw.between(6, 11)), (network, draw.between(6, 11), 1),
        (one_output, 1, 1), (one_output, 1, None)]
    return [Asked(f"N1 = {n1}, N2 = {n2}, O = {net.n_outputs}", draw.case(net, n1, n2),
                  draw.forms(*draw.one_of((None, 1), (1, 5), (5, None)))[i % 3:][:2])
            for i, (net, n1, n2) in enumerate(shapes)]


@dimension
def many_blocks(draw: Draws) -> list[Asked]:
    """Blocks of 1, 5 and other sizes: that of x1, one less, one more, that of x2, one that only x1 is larger than."""
    n1, n2 = draw.between(21, 31), draw.between(11, 19)
    network = draw.dense(4, draw.between(5, 9), 3)
    sizes = (1, 5, draw.between(6, 10), draw.one_of(n1 - 1, n1 + 1), n1, n2, draw.between(n2 + 1, n1 - 1))
    return [Asked(f"N1 = {n1}, N2 = {n2}", draw.case(network, n1, n2), _in_blocks(draw, sizes)),
            Asked(f"{n1} examples and x2 = x1", draw.case(network, n1, None), _in_blocks(draw, sizes[::-1]))]


def _in_blocks(draw: Draws, sizes: tuple[int, ...]) -> tuple[Request, ...]:
    """Every form in each size of blocks."""
    forms = [replace(form, batch_size=size) for size in sizes for form in draw.forms(None)]
    return tuple(forms[i] for i in draw.rng.permutation(len(forms)))


