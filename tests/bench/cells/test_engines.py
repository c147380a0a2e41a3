"""The profile of the engines: the products of a plan, turns, ratios within a turn, and the section of the report."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest

from bench.cells import bounds, engines
from bench.cells.products import LARGEST, Gemm, products
from bench.records.record import CaseInfo, Cell, Record
from bench.report import markdown
from bench.report.engine_section import comparisons, ratio, turns
from bench.report.report import render
from bench.report.summary import rankings
from bench.running import order
from impls.frameworks.arrays import to_numpy
from impls.structured.planner import Outputs, Parameter, Plan, Product, Task, plan
from reference import MLP, Request
from reference.case import random_case
from tests.bench.report.synthetic_records import ENVIRONMENT

N, O, WIDTHS = 6, 3, (7, 11, 13, 3)
INFO = CaseInfo("cell", "MLP", 8, N, None, O, 100, "random")
NT, PEER = "neural_tangents.structured_derivatives", "explicit_mlp"


def mlp_plan(outputs: Outputs, n2: int | None = None) -> Plan:
    layers = list(pairwise(WIDTHS))
    parameters = [Parameter(f"{i}", a * b, "dense", (Product(1, 1, a, b, top=i == len(layers) - 1),))
                  for i, (a, b) in enumerate(layers)]
    bias = Parameter("bias", 11, "bias", carried_by="0")
    return plan(Task(N, n2, O, outputs, 4), [*parameters, bias])


def flops(gemms: list[Gemm]) -> int:
    return sum(gemm.flops for gemm in gemms)


@pytest.mark.parametrize("n2", [None, 4])
@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace"])
def test_products_of_an_mlp(outputs: Outputs, n2: int | None) -> None:
    examples, other = N + (n2 or 0), n2 or N
    forward = examples * (7 * 11 + 11 * 13 + 13 * 3)
    backward = examples * O * 11 * 13  # the cotangent of the second layer alone: the top layer's is its weight
    pairs = N * other * (O * O if outputs == "full" else O)
    grams = N * other * (7 + 11 + 13) + pairs * (11 + 13)
    assert flops(products(mlp_plan(outputs, n2))) == 2 * (forward + backward + grams)


@pytest.mark.parametrize("way", ["gram", "half", "gradient", "separable"])
def test_products_of_a_convolution(way: Any) -> None:
    S, T, I, J = 2, 5, 6, 7
    task = Task(N, None, O, "full", 4)
    whole = plan(task, [Parameter("w", S * I * J, "convolution", (Product(S, T, I, J),))])
    whole = replace(whole, steps=tuple(replace(step, ways=(way,)) for step in whole.steps))
    contraction = {
        "gram": S * N * N * T * T * (I + O * O * J),
        "half": S * N * N * T * T * (I + O * J) + N * N * O * O * S * T * J,
        "gradient": N * S * T * O * I * J + N * N * O * O * S * I * J,
        "separable": N * S * T * I * J + N * N * S * J * (I + O * O),
    }[way]
    assert flops(products(whole)) == 2 * (N * T * S * I * J + contraction)


def test_a_gradient_that_is_taken_directly() -> None:
    found = products(plan(Task(N, 4, O, "trace", 4), [Parameter("scale", 50, "scale"), Parameter("x", 9, "unused",
                                                                                               used=False)]))
    assert found == [Gemm(N, O * 50, 4)]


def test_large_products_are_made_in_pieces() -> None:
    wide = plan(Task(4096, None, 1, "trace", 4), [Parameter("w", 1 << 20, "dense", (Product(1, 1, 1024, 1024),))])
    found = products(wide)
    assert max(gemm.m * max(gemm.k, gemm.n) for gemm in found) <= LARGEST
    assert flops(found) == 2 * (4096 * 1024 * 1024 + 2 * 4096 * 4096 * 1024)


@pytest.mark.parametrize("name", bounds.NAMES)
def test_bounds_run(name: str) -> None:
    pytest.importorskip("jax" if "jax" in name else "torch", reason="that half is not installed")
    bound = bounds.load(name)
    assert (bound.name, bound.kind) == (name, bounds.KIND)
    last = bound.prepare(random_case("bound", MLP(WIDTHS), N, 4), Request())()
    assert to_numpy(last).shape == (1, N, 4)  # the top layer's Gram, 13 inputs of 1
    np.testing.assert_array_equal(to_numpy(last), 13)


def test_cases_are_the_table_of_the_engines() -> None:
    names = [source.name for source in engines.CASES]
    assert len(set(names)) == len(names) == 13
    assert set(engines.OUTPUTS) <= set(names)
    sources = cast("Any", engines.CASES)
    assert {s.description.n_outputs for s in sources if s.name.startswith("Res")} == {10}
    resnet = next(s.description for s in sources if s.name.startswith("Res"))
    convolutions = [name for name, shape in resnet.param_shapes().items() if len(shape) == 4]
    assert len(convolutions) == 17 + 3  # those of ResNet-18, and of its shortcuts


def record(method: str, turn: int, seconds: float | None, kind: str = "exact") -> Record:
    status = "timeout" if seconds is None else "ok"
    return Record(Cell(method, "cell"), INFO, turn, status, kind, reason="" if seconds else "killed", error=1e-7,
                  samples_s=() if seconds is None else (seconds,), first_call_s=seconds and 2 * seconds,
                  peak_bytes=1000, environment=ENVIRONMENT.key)


BOUND = bounds.ENGINES["structured_jax"]
RUN = [
    # The second turn is twice as slow for all of them: ratios within a turn do not show it.
    *(record("structured_jax", turn, 1.0 * slow) for turn, slow in enumerate((1, 2, 1))),
    *(record(BOUND, turn, 2.0 * slow, bounds.KIND) for turn, slow in enumerate((1, 2, 1))),
    *(record(PEER, turn, 3.0 * slow) for turn, slow in enumerate((1, 2, 1))),
    record(NT, 0, 12.0), record("equinox.exact", 0, None),
]


@pytest.mark.parametrize(("method", "again"), [
    ("structured_jax", True), (BOUND, True), (PEER, True), (NT, False), ("equinox.exact", False),
    ("torch_func.jacobian_contraction", False)])
def test_who_is_measured_again(method: str, again: bool) -> None:
    kept = [each for each in RUN if each.replicate == 0]
    assert order.contends(Cell(method, "cell"), kept) == again


def test_ratios_are_taken_within_a_turn() -> None:
    (found,) = comparisons(rankings(RUN)[0], turns(RUN))
    assert (found.over_bound, found.faster, found.faster_than_nt) == (0.5, 3.0, 12.0)
    assert found.peer is not None
    assert found.peer.line.method == PEER
    assert ratio({0: 1.0, 1: 6.0}, {1: 2.0, 2: 5.0}) == 3.0
    assert ratio({0: 1.0}, {1: 2.0}) is None


def test_a_bound_is_never_ranked() -> None:
    (ranking,) = rankings(RUN)
    assert [entry.line.method for entry in ranking.ranked] == ["structured_jax", PEER, NT]
    assert [entry.line.method for entry in ranking.unranked] == [BOUND]
    alone = rankings([each for each in RUN if each.kind == bounds.KIND])
    assert alone[0].fastest is None


def test_section_of_the_report() -> None:
    page = render(RUN, {ENVIRONMENT.key: ENVIRONMENT})
    section = page.partition('<section id="engines">')[2].partition("</section>")[0]
    assert all(text in section for text in ("0.500×", "3.00×", "12.0×", "explicit_mlp", "2.00 s"))
    assert "engines" not in [part.partition('"')[0] for part in
                             render([each for each in RUN if each.kind == "exact"], {}).split('<section id="')]


def test_page_of_markdown() -> None:
    text = markdown.tables(RUN, [ENVIRONMENT])
    assert "Threads: 1; turns: 3." in text
    assert (f"| cell | structured_jax | 1.00 s | 0.500× | {PEER} | 3.00 s | 3.00× | 12.0× | 2.00 s | 24.0 s | 1000 B | "
            "1000 B |") in text
    without_bound = markdown.tables([each for each in RUN if each.kind == "exact"], [ENVIRONMENT])
    assert f"| cell | structured_jax | 1.00 s | – | {PEER} |" in without_bound
