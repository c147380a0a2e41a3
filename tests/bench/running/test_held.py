"""The examples behind a callable are found, wherever and however it holds them, and nothing else is."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.running.anew import Anew
from bench.running.held import Examples, arrays_behind
from reference import MLP, Case
from reference.case import random_case

CASE = random_case("held", MLP((5, 4, 3)), 6, 4)
ORDERS = [np.random.default_rng(0).permutation(n) for n in (6, 4)]


def called(*arguments: Any, **named: Any) -> Any:
    return arguments, named


def holders(x1: Any, x2: Any) -> dict[str, Any]:
    class Held:
        def __call__(self) -> Any:
            return self.x1, self.x2  # type: ignore[attr-defined]

    instance = Held()
    instance.x1, instance.x2 = x1, x2  # type: ignore[attr-defined]
    return {"closure": lambda: (x1, x2), "partial": partial(called, [x1], b=(x2,)), "instance": instance,
            "method": instance.__call__, "default": lambda a=x1, b=x2: (a, b),
            "deep": partial(called, {"a": {"b": instance}}),
            "namespace": partial(called, SimpleNamespace(x1=x1, x2=x2))}


@pytest.mark.parametrize("how", list(holders(0, 0)))
@pytest.mark.parametrize("form", ["as given", "float32", "channels last", "joined"])
def test_examples_are_found_and_rearranged(how: str, form: str) -> None:
    x1, x2 = CASE.x1.copy(), CASE.x2.copy() if CASE.x2 is not None else np.empty(0)
    if form == "float32":
        x1, x2 = x1.astype("float32"), x2.astype("float32")
    if form == "channels last":
        x1, x2 = x1[:, ::-1].copy(), x2[:, ::-1].copy()
    if form == "joined":
        x1 = x2 = np.concatenate([x1, x2])
    before = x1.copy(), x2.copy()
    examples = Examples(holders(x1, x2)[how], CASE)
    assert examples.found
    assert examples.put(ORDERS)
    both = np.concatenate([ORDERS[0], 6 + ORDERS[1]])
    for now, then, order in zip((x1, x2), before, (both, both) if form == "joined" else ORDERS, strict=True):
        np.testing.assert_array_equal(now, then[order])
    examples.put([np.arange(6), np.arange(4)])
    np.testing.assert_array_equal(x1, before[0])


def test_other_arrays_and_those_of_the_module_are_none() -> None:
    other = CASE.x1 + 1
    assert not Examples(lambda: (other, CASE.params), CASE).found
    assert list(arrays_behind(test_examples_are_found_and_rearranged)) == []


def linear(case: Case) -> np.ndarray:
    return case.x1 @ (case.x1 if case.x2 is None else case.x2).T


@pytest.mark.parametrize("nudge", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("keeps", [False, True])
def test_calls_follow_or_they_are_kept(symmetric: bool, keeps: bool, nudge: bool) -> None:
    case = random_case("held", MLP((5, 4, 3)), 6, None if symmetric else 4)
    first = linear(case)
    given = first.copy()
    anew = Anew(case, "exact", 0)

    def prepare() -> Any:
        kernels: list[np.ndarray] = []

        def compute() -> np.ndarray:
            kernels.append(linear(case))
            return kernels[0].copy() if keeps else kernels[-1]
        return compute

    compute = prepare()
    anew.prepared(compute)
    anew.called_first(first)
    for _ in range(7):
        anew.rearrange(nudge)
        assert keeps or anew.nudged == nudge
        anew.called(compute() if keeps else linear(case))
    np.testing.assert_allclose(anew.in_order(first if keeps else linear_now(anew, case)), given)
    assert bool(anew.verdict(prepare)[0]) == keeps
    np.testing.assert_array_equal(linear(case), given)  # all is as it was


def linear_now(anew: Anew, case: Case) -> np.ndarray:
    anew.rearrange()
    return linear(case)
