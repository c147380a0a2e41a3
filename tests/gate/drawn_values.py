"""The dimensions in which the numbers are out of the ordinary: equal, alike, 0, large, whole; and sizes of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from reference import MLP, Case, Layered, round_to_float32
from reference.layers import Activate, Attention, BatchNorm, Convolution, Dense, GlobalPool, Recurrent
from tests.gate.drawn import Asked, Draws, dimension

SMALLEST = 2.0**-149
"""Above 0, of float32."""


@dimension
def examples_alike(draw: Draws) -> list[Asked]:
    """Of one sum, one norm and one set of entries; equal but for one entry; and an x2 that is x1 but for one entry
    inside, so that shape, ends and most examples are the same."""
    network, n = draw.dense(5, draw.between(5, 9), 2), draw.between(5, 8)
    alike = draw.case(network, n, 3, lambda case: replace(case, x1=_alike(case.x1), x2=case.x1[:3, ::-1].copy()))
    nearly = draw.case(network, n, n, lambda case: replace(case, x2=_entry_changed(case.x1)))
    return [Asked("examples whose entries are the others', in another order", alike, draw.forms(None, 2)),
            Asked("x2 is x1 but for one entry", nearly, draw.forms(None, 2))]


def _alike(x: np.ndarray) -> np.ndarray:
    """Every second example holds the entries of the one before, turned by one; the last is it but for one entry."""
    alike = x.copy()
    alike[1::2] = np.roll(alike[:-1:2], 1, axis=1)
    alike[-1] = alike[-2]
    alike[-1, -1] = round_to_float32(alike[-1, -1] - 0.75)
    return alike


def _entry_changed(x: np.ndarray) -> np.ndarray:
    changed = x.copy()
    changed[len(x) // 2, 1] = round_to_float32(changed[len(x) // 2, 1] + 0.75)
    return changed


@dimension
def parameters_alike(draw: Draws) -> list[Asked]:
    """Layers that hold the same numbers and are not tied; biases of 0; a last layer of 0."""
    width = draw.between(5, 8)
    network = draw.dense(4, width, width, width, 3)
    return [Asked(what, draw.case(network, 3, 2, change), draw.forms(None, 2)) for what, change in (
        ("two equal layers, no two of them tied", _equal_layers),
        ("all biases are 0", _zero(lambda name: name.endswith(".bias"))),
        ("the last layer is 0", _zero(lambda name: name.startswith("dense3."))))]


def _equal_layers(case: Case) -> Case:
    return replace(case, params={**case.params, "dense2.weight": case.params["dense1.weight"].copy(),
                                 "dense2.bias": case.params["dense1.bias"].copy()})


def _zero(which: Callable[[str], bool]) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        return replace(case, params={name: np.zeros_like(array) if which(name) else array
                                     for name, array in case.params.items()})

    return change


@dimension
def unusual_numbers(draw: Draws) -> list[Asked]:
    """Inputs of 0, −0 and 1, of whole numbers, and the smallest ones above 0; weights of 2¹⁰ before some of 2⁻¹⁰;
    constants of large numbers; biases that outweigh the inputs."""
    network, width = draw.dense(6, draw.between(5, 9), 3), draw.between(5, 8)
    norm = Layered((2, 3, 3), (Convolution("first", width, (2, 2)), BatchNorm("norm"), Activate("tanh"), GlobalPool(),
                               Dense("head", 3)))
    relu = MLP((5, 2 * width, 2 * width, 3), "relu", bias=False, W_std=1.25)  # no kernel of it is 0
    return [Asked(what, draw.case(of, 4, 2, change), draw.forms(None, 2)) for what, of, change in (
        ("inputs of 0, −0, 1 and 2⁻¹⁴⁹", network, _of_few_numbers(0.0, 1.0, -0.0, SMALLEST)),
        ("whole numbers as inputs", network, _of_few_numbers(-1.0, 0.0, 1.0, 2.0)),
        ("running variances of 2¹²", norm, _large_constants),
        ("weights of scale 2¹⁰ and 2⁻¹⁰", relu, _large_weights),
        ("biases beyond 30", MLP((4, width, 3), "relu"), _large_bias))]


def _of_few_numbers(*numbers: float) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        rng, x1, x2 = np.random.default_rng(len(case.x1)), case.x1, case.x2
        of = [rng.permuted(np.resize(numbers, x.shape)) for x in (x1, x1 if x2 is None else x2)]
        return replace(case, x1=of[0], x2=None if x2 is None else of[1])

    return change


def _large_constants(case: Case) -> Case:
    """The first layer's outputs are as much larger, so that what is behind them is not."""
    changed = {name: 2.0**12 * array if name.endswith("var") else 2.0**6 * array
               for name, array in case.constants.items()}
    larger = {name: 2.0**6 * array if name.startswith("first.") else array for name, array in case.params.items()}
    return replace(case, constants=changed, params=larger)


def _large_weights(case: Case) -> Case:
    factors = {"dense0.weight": 2.0**10, "dense1.weight": 2.0**-10}
    return replace(case, params={name: factors.get(name, 1.0) * array for name, array in case.params.items()})


def _large_bias(case: Case) -> Case:
    """Half of the units are far on their linear side, whatever the example."""
    bias = case.params["dense0.bias"].copy()
    bias[::2] = round_to_float32(np.abs(bias[::2]) + 32)
    return replace(case, params={**case.params, "dense0.bias": bias})


@dimension
def sizes_of_one(draw: Draws) -> list[Asked]:
    """One input, one unit in a layer, one output of many examples; one channel, 1×1 kernels and images; one position
    that attends to itself, and a recurrence of one step."""
    n1, n2 = draw.between(33, 45), draw.between(2, 4)
    thin = draw.dense(*draw.one_of((1, 1, 2, 1), (1, 2, 1, 1), (2, 1, 3, 1)))
    images = Layered((1, draw.one_of(1, 3), 1), (
        Convolution("one", 1, (1, 1)), Activate("tanh"), Convolution("two", 3, (1, 1)), Activate("gelu"),
        GlobalPool(), Dense("head", 2)))
    steps = Layered((1, 4), (Attention("attention", 2), Activate("tanh"), Recurrent("cell", 3), Dense("head", 1)))
    return [Asked(f"widths {thin.widths}, N1 = {n1}", draw.case(thin, n1, n2), draw.forms(None, 5)),
            Asked(f"widths {thin.widths}, x2 = x1", draw.case(thin, n1, None), draw.forms(5, None)[:3]),
            Asked("one channel and 1×1 kernels", draw.case(images, 3, 2), draw.forms(None, 2)[:3]),
            Asked("one position and one step", draw.case(steps, 3, 2), draw.forms(None, 2)[:3])]
