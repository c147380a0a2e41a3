"""The planner by itself: which way is cheapest, what fits, which blocks."""

from __future__ import annotations

from dataclasses import replace
from itertools import product as combinations
from typing import Any

import numpy as np
import pytest

from impls.structured import planner
from impls.structured.explain import explain
from impls.structured.hardware import HARDWARE
from impls.structured.planner import Parameter, Product, Task, cost, plan, possible_ways
from reference import InputError

DENSE = Product(1, 1, 1024, 1024)
CONVOLUTION = Product(1, 256, 288, 32)


def task(**changes: Any) -> Task:
    return Task(**{"n1": 64, "n2": None, "n_outputs": 10, "outputs": "full", "itemsize": 4, **changes})


def way(product: Product, task: Task) -> str:
    (step,) = plan(task, [Parameter("w", product.size, "dense", (product,))]).steps
    return step.ways[0]


def test_a_dense_layer_takes_the_gram() -> None:
    assert way(DENSE, task()) == "gram"


def test_a_convolution_takes_its_gradient() -> None:
    assert way(CONVOLUTION, task(n1=16)) == "gradient"


def test_few_positions_of_a_large_layer_do_not_take_the_gradient() -> None:
    assert way(Product(1, 4, 4096, 4096), task()) in ("gram", "half")


def test_the_top_layer_is_never_multiplied_by_its_cotangent() -> None:
    top = Product(1, 1, 1024, 10, top=True)
    assert possible_ways(top, task()) == ("top",)
    assert cost("top", top, task()).flops < cost("gram", Product(1, 1, 1024, 10), task()).flops


def test_a_separable_cotangent_is_made_use_of() -> None:
    """Where there are outputs to save: with one output nothing is, nor on the diagonal of a dense layer's kernel."""
    for product in (DENSE, CONVOLUTION):
        known = replace(product, separable=True)
        for outputs in ("full", "diagonal", "trace"):
            asked = task(n1=16, outputs=outputs)
            assert "separable" not in possible_ways(product, asked)
            assert (way(known, asked) == "separable") is (product is CONVOLUTION or outputs != "diagonal")
            assert way(known, replace(asked, n_outputs=1)) == way(product, replace(asked, n_outputs=1))


def test_flops_of_a_separable_cotangent_by_hand() -> None:
    """6 pairs of examples and 3 of outputs: Σ_j c c' F, times a·a' for a single position."""
    small = task(n1=2, n2=3, n_outputs=2)
    assert cost("separable", Product(1, 1, 5, 7), small).flops == 6 * (2 * 5 + 7 + 3 * (2 * 7 + 1))
    assert cost("separable", Product(1, 4, 5, 7), small).flops == 5 * 2 * 4 * 35 + 6 * (2 * 35 + 3 * (2 * 7 + 1))


def test_symmetry_halves_the_pairs() -> None:
    assert task(n1=100).pairs == 5050
    assert task(n1=100, n2=100).pairs == 10000


def test_flops_of_a_gram_by_hand() -> None:
    """2·I for a·a', then for each of the O² pairs of outputs 2·J and the product with a sum."""
    small = task(n1=2, n2=3, n_outputs=2)
    assert cost("gram", Product(1, 1, 5, 7), small).flops == 6 * (2 * 5 + 4 * (2 * 7 + 2))


def test_flops_of_a_gradient_by_hand() -> None:
    small = task(n1=2, n2=3, n_outputs=2, outputs="trace")
    assert cost("gradient", Product(1, 4, 5, 7), small).flops == 5 * 2 * 4 * 2 * 35 + 6 * 2 * 2 * 35


@pytest.mark.parametrize("outputs", ["diagonal", "trace"])
def test_less_than_full_is_not_dearer(outputs: Any) -> None:
    for product in (DENSE, CONVOLUTION):
        for some in possible_ways(product, task(outputs=outputs)):
            assert cost(some, product, task(outputs=outputs)).flops < cost(some, product, task()).flops


def test_a_memory_limit_keeps_large_gradients_away() -> None:
    product = Product(1, 256, 512, 512)
    assert way(product, task(n1=16, outputs="trace")) == "gradient"
    assert way(product, task(n1=16, outputs="trace", memory_limit=64 * 2**20)) != "gradient"


def test_what_does_not_fit_is_computed_anew() -> None:
    parameters = [Parameter("w", DENSE.size, "dense", (DENSE,))]
    tight = plan(task(n1=4096, outputs="trace", memory_limit=2**24), parameters)
    assert tight.recompute
    assert not plan(task(n1=4096, outputs="trace"), parameters).recompute
    kept = tight.steps[0].bytes // 4096
    assert tight.block1 * kept <= 2**24


def test_as_many_panels_are_kept_as_fit() -> None:
    """Panels, what is kept of x1, and a pair of panels of the answer: each within its share of the limit."""
    limit, parameters = 2**26, [Parameter("w", DENSE.size, "dense", (DENSE,))]
    for outputs, n_outputs in (("trace", 1), ("full", 10)):
        asked = task(n1=8192, n_outputs=n_outputs, outputs=outputs, memory_limit=limit, example_bytes=10_000)
        chosen = plan(asked, parameters)
        kept = chosen.steps[0].bytes // 8192
        assert chosen.recompute
        assert chosen.panel1 * (kept + 10_000) <= limit / 4
        assert chosen.kept_panels * chosen.panel1 * kept <= limit / 4
        assert chosen.panel1 * chosen.panel2 * asked.entries * 4 <= limit / 4
    assert plan(task(n1=4096, outputs="trace"), parameters).kept_panels >= 4096


def test_a_pass_is_bounded_without_a_limit() -> None:
    an_eighth = HARDWARE["cpu"].pass_bytes // 8
    chosen = plan(task(n1=100, example_bytes=an_eighth), [Parameter("w", 1, "dense", (DENSE,))])
    assert chosen.panel1 == 7
    assert not chosen.recompute


@pytest.mark.parametrize("outputs", ["full", "trace"])
def test_a_limit_is_kept_where_one_plan_can(outputs: Any) -> None:
    """Also where the plan for that limit holds more, and only that for a smaller one does not."""
    parameters = [Parameter("w", 1 << 10, "dense", (Product(1, 5, 32, 32),)), Parameter("v", 96, "dense",
                                                                                    (Product(1, 1, 32, 3),)),
                  Parameter("u", 400, "fallback: why not")]
    asked = task(n1=6, n_outputs=3, outputs=outputs, example_bytes=9_000)
    limits = [2**10 + 700 * i for i in range(200)]
    held = {limit: plan(replace(asked, memory_limit=limit), parameters).held_bytes for limit in limits}
    least = min(held.values())
    assert min(limits) < least < max(limits)
    for limit in limits:
        assert held[limit] <= max(limit, least)
        found = plan(replace(asked, memory_limit=limit), parameters)
        assert found.task.memory_limit == limit
        if limit < least:
            with pytest.raises(InputError, match=f"memory_limit={limit} is not enough.*holds {held[limit]} bytes"):
                planner.check_limit(found)
        else:
            planner.check_limit(found)


def test_a_gpu_is_given_more_at_once() -> None:
    """Three layers of 640 rows: in blocks on a CPU, as a whole on a GPU."""
    parameters, asked = [Parameter(str(i), DENSE.size, "dense", (DENSE,)) for i in range(3)], task(n2=64)
    assert plan(asked, parameters).together is False
    assert plan(replace(asked, device="cuda"), parameters).together is True
    symmetric = task()
    assert plan(symmetric, parameters).block1 < 64
    assert plan(replace(symmetric, device="cuda"), parameters).block1 == 64


def test_few_rows_pass_together() -> None:
    """x1 and x2 as one batch, where that fits and products have few rows: examples × outputs × positions."""
    def together(product: Product, **changes: Any) -> bool:
        return plan(task(n2=64, **changes), [Parameter("w", product.size, "dense", (product,))]).together

    assert together(DENSE, n_outputs=1)
    assert not together(DENSE, n_outputs=10)
    assert not together(CONVOLUTION, n_outputs=1)
    assert not together(DENSE, n_outputs=1, batch_size=64)
    assert together(DENSE, n_outputs=1, batch_size=128)
    assert not together(DENSE, n_outputs=1, memory_limit=2**17)
    assert not plan(task(n_outputs=1), [Parameter("w", DENSE.size, "dense", (DENSE,))]).together


def test_memory_does_not_grow_with_n() -> None:
    parameters = [Parameter("w", DENSE.size, "dense", (DENSE,))]
    blocks = [plan(task(n1=n, memory_limit=2**26), parameters).block1 for n in (2048, 4096, 8192)]
    assert max(blocks) - min(blocks) <= 1


def test_batch_size_bounds_the_pass() -> None:
    chosen = plan(task(batch_size=7), [Parameter("w", DENSE.size, "dense", (DENSE,))])
    assert chosen.panel1 == 7


@pytest.mark.parametrize(("n", "outputs"), list(combinations((1, 2, 5, 64, 100), (1, 10))))
def test_blocks_are_even_and_cover(n: int, outputs: int) -> None:
    chosen = plan(task(n1=n, n_outputs=outputs), [Parameter("w", DENSE.size, "dense", (DENSE,))])
    blocks = -(-n // chosen.block1)
    assert 1 <= chosen.block1 <= n
    assert blocks * chosen.block1 - n < blocks


def test_a_tied_table_is_crossed_when_large() -> None:
    def chosen(rows: int) -> tuple[str, ...]:
        uses = (Product(1, 16, rows, 64, lookup=True), Product(1, 16, 64, rows))
        (step,) = plan(task(n1=8, n_outputs=2), [Parameter("E", rows * 64, "embedding", uses, transposed=True)]).steps
        return step.ways

    assert chosen(4) == ("direct",)
    assert "direct" not in chosen(50_000)


def test_explain_says_rule_way_and_cost() -> None:
    text = explain(plan(task(), [Parameter("w", DENSE.size, "dense", (DENSE,)),
                                 Parameter("b", 1024, "bias", carried_by="w"),
                                 Parameter("v", 10, "fallback: enters while"),
                                 Parameter("u", 10, "unused", used=False)]))
    w, b, v, u = text.splitlines()[1:5]
    assert w.split()[:4] == ["w", str(1024**2), "dense", "gram"]
    assert "with w" in b
    assert "fallback: enters while" in v
    assert "direct" in v
    assert u.split()[2:4] == ["unused", "none"]
    assert [line.partition(":")[0] for line in text.splitlines()[6:]] == ["gram", "direct"]


def test_counts_are_exact_integers() -> None:
    """Large networks must not lose digits or overflow."""
    huge = cost("gram", Product(1, 512, 4096, 50_000), task(n1=10_000))
    assert isinstance(huge.flops, int)
    assert huge.flops > np.iinfo(np.int64).max // 1000
