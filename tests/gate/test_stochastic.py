"""A random method: free of bias, converging as 1/√proj_dim, and decided by its seed alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from impls import Method
from reference import Case, Expected, Request, compare, expected, seed_of
from tests.gate.checks import prepare, skip_unsupported, uneven_batch_size
from tests.gate.selection import Selection
from tests.gate.stochastic import (
    FEW,
    Shares,
    estimate_of,
    full_request,
    joint,
    judge_bias,
    judge_convergence,
    judge_seeds,
)
from tests.gate.test_independence import assert_other

Pair = tuple[Method, Case]


@pytest.mark.many_projections
def test_unbiased(stochastic_case: Pair, selection: Selection) -> None:
    """Of a bias of 2 %, of the trace, the kernel or the block of one output, it is free: found with power 0.99."""
    method, case = stochastic_case
    skip_unsupported(method, joint(case.name), full_request(selection.device))
    shares = Shares.of(list(selection.methods.values()))
    comparison = judge_bias(estimate_of(method, selection.device), case.name, shares, _first_seed(method, case, "bias"))
    assert comparison.ok, comparison.reason


@pytest.mark.many_projections
def test_convergence(stochastic_few: Pair, selection: Selection) -> None:
    """The error falls at least as proj_dim to the power −0.5 + 0.1."""
    method, case = stochastic_few
    _, fault = judge_convergence(estimate_of(method, selection.device), case.name,
                                 _first_seed(method, case, "convergence"))
    assert not fault, fault


def test_other_seeds_are_other_projections(stochastic_few: Pair, selection: Selection) -> None:
    """Seeds next to each other share no projections, as they do where projection s is drawn from seed + s."""
    method, case = stochastic_few
    _, fault = judge_seeds(estimate_of(method, selection.device), case.name, _first_seed(method, case, "seeds"))
    assert not fault, fault


def test_one_seed_is_one_set_of_projections(stochastic_few: Pair, selection: Selection) -> None:
    """For x1 and x2, in blocks or not, whatever part of the kernel is asked for: what holds for one holds for all."""
    method, case = stochastic_few
    request = replace(full_request(selection.device), seed=1)
    together = prepare(method, joint(case.name), request)()
    proved, n1 = expected(case), len(case.x1)
    part = Expected(together[:n1, n1:], proved.block1, proved.block2, "the estimate for x1 and x2 together")
    for asked in (request, replace(request, outputs="diagonal", batch_size=uneven_batch_size(case)),
                  replace(request, outputs="trace")):
        comparison = compare(prepare(method, case, asked)(), part, outputs=asked.outputs, dtype="float64",
                             symmetric=False)
        assert comparison.ok, f"outputs={asked.outputs}, batch_size={asked.batch_size}: {comparison.reason}"


def test_seed_in_float32(stochastic_few: Pair, selection: Selection) -> None:
    """As `test_seed`, in the other dtype."""
    method, case = stochastic_few
    request = Request(dtype="float32", device=selection.device, options={"proj_dim": FEW})
    first, again, other = (prepare(method, case, replace(request, seed=seed))() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again, "the same seed gave another kernel")
    assert_other(first, other, case, "float32")


def _first_seed(method: Method, case: Case, what: str) -> int:
    return seed_of(f"{method.name}-{case.name}-{what}")
