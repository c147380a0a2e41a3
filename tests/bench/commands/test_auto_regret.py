"""The record of what the choice of ``method="auto"`` costs, and how it is judged. Nothing is timed here."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

import pytest

import impls
from bench.commands import auto_cases, auto_regret
from impls.choice import costs
from impls.choice.costs import Work
from impls.choice.rates import Rates

RATES = Rates(1e11, 1e11, 1e10, 1e-6)

# What the choice may cost beside the best, in the median of a group and at worst.
MEDIAN, WORST = 1.10, 1.5


def record() -> dict[str, Any]:
    return json.loads(auto_regret.PATH.read_text(encoding="utf-8"))


def rows() -> list[dict[str, Any]]:
    return record()["rows"]


def judged(found: Sequence[dict[str, Any]]) -> tuple[float, float]:
    costs_of = [auto_regret.regret(row)[1] for row in found]
    return statistics.median(costs_of), max(costs_of)


@pytest.mark.parametrize("framework", auto_regret.FRAMEWORKS)
@pytest.mark.parametrize("group", ["quick", "held out", "unseen"])
def test_the_choice_costs_little_on_record(group: str, framework: str) -> None:
    """With the factors as they are now, on times that were measured once."""
    found = [row for row in rows() if (row["group"], row["framework"]) == (group, framework)]
    median, worst = judged(found)
    assert median <= MEDIAN
    assert worst <= WORST


@pytest.mark.parametrize("factor", [0.7, 1.4])
@pytest.mark.parametrize("rate", vars(RATES))
def test_a_rate_that_was_measured_badly(rate: str, factor: float) -> None:
    """As on a machine that something else disturbs for a moment."""
    found = [row | {"rates": row["rates"] | {rate: row["rates"][rate] * factor}} for row in rows()]
    median, worst = judged(found)
    assert median <= MEDIAN
    assert worst <= WORST


def test_the_record_is_complete() -> None:
    due = {(group, case.name, framework, outputs) for group, case in auto_cases.all_cases()
           for framework in auto_regret.FRAMEWORKS for outputs in auto_regret.KINDS}
    assert {auto_regret._key(row) for row in rows()} == due
    assert {row["environment"] for row in rows()} == set(record()["environments"])
    for row in rows():
        answered = {*row["seconds"], *row["refused"]}
        assert answered == {name for name in costs.FACTORS if impls.framework(name) == row["framework"]}


def test_a_worse_choice_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    work = {"structured_torch": Work(1), "torch_autograd.per_example": Work(1)}
    row = {"seconds": {"structured_torch": 2.0, "torch_autograd.per_example": 1.0}, "framework": "torch",
           "rates": vars(RATES), "work": {name: vars(amounts) for name, amounts in work.items()}}
    for factor, choice, cost in ((2.0, "structured_torch", 2.0), (0.5, "torch_autograd.per_example", 1.0)):
        monkeypatch.setattr(costs, "FACTORS", {"structured_torch": Work(1.0),
                                               "torch_autograd.per_example": Work(factor)})
        assert auto_regret.regret(row) == (choice, cost)
