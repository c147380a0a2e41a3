"""A limit method beyond the stored cases: deeper, more examples, examples on one line through 0, a zero example."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from impls import Method
from reference import MLP, Case, Request, round_to_float32
from reference.case import DType, Outputs
from reference.networks import Activation
from tests.gate.checks import prepare, skip_unsupported
from tests.gate.drawn import Draws, told
from tests.gate.limit import compare_limit
from tests.gate.selection import Selection

WITH_A_LIMIT: tuple[Activation, ...] = ("relu", "erf", "gelu", "sin")


@pytest.mark.parametrize("activation", WITH_A_LIMIT)
def test_deep(limit_method: Method, activation: Activation, selection: Selection) -> None:
    draw = Draws(selection.gate_seed, f"deep {activation}")
    n_hidden = draw.between(5, 9)
    case = draw.case(network(draw, activation, n_hidden), 3, 2)
    for dtype in get_args(DType):
        hold(limit_method, case, draw, dtype, f"{n_hidden} hidden layers of {activation}", selection)


def test_many_examples(limit_method: Method, selection: Selection) -> None:
    """In x1 alone, in x2 alone, and with x2 = x1."""
    draw = Draws(selection.gate_seed, "many examples of a limit")
    n_many, n_few = draw.between(101, 128), draw.between(2, 4)
    of = network(draw, draw.one_of("relu", "erf"), 2)
    for n1, n2 in ((n_many, n_few), (n_few, n_many), (n_many, None)):
        hold(limit_method, draw.case(of, n1, n2), draw, "float64", f"N1 = {n1}, N2 = {n2}", selection)


@pytest.mark.parametrize("activation", WITH_A_LIMIT)
def test_on_one_line(limit_method: Method, activation: Activation, selection: Selection) -> None:
    """Equal, parallel and opposite examples, whose cosine is 1 or −1."""
    draw = Draws(selection.gate_seed, f"one line {activation}")
    case = draw.case(network(draw, activation, 3), 4, None)
    x = case.x1
    on_a_line = replace(case, x1=round_to_float32(np.stack([x[0], 2 * x[0], -x[0], x[1], -0.5 * x[1], x[0]])))
    hold(limit_method, on_a_line, draw, "float64", "examples on a line, x2 = x1", selection)
    given = replace(on_a_line, x2=round_to_float32(np.stack([x[0], -4 * x[1], x[2]])))
    hold(limit_method, given, draw, "float64", "examples on a line, in x1 and in x2", selection)


def network(draw: Draws, activation: Activation, n_hidden: int) -> MLP:
    """Without biases in every second draw, but for a zero example's sake."""
    widths = (draw.between(3, 6), *[draw.between(3, 6) for _ in range(n_hidden)], 2)
    return MLP(widths, activation, draw.one_of(True, False), parameterization="ntk", W_std=1.4, b_std=0.75)


def hold(method: Method, case: Case, draw: Draws, dtype: DType, what: str, selection: Selection) -> None:
    outputs = draw.one_of(*get_args(Outputs))
    request = Request(outputs, dtype, selection.device, batch_size=draw.one_of(None, 2, 5))
    skip_unsupported(method, case, request)
    with told(f"{what}, {outputs} in {dtype}, batch_size={request.batch_size}", selection.gate_seed):
        comparison = compare_limit(prepare(method, case, request)(), case, request)
        assert comparison.ok, comparison.reason
