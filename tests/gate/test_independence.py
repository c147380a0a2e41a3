"""What a kernel must not depend on: the batch size, and what was computed before; a random one, all but its seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from impls import Method
from reference import Case, Expected, Request, compare, expected, float64_expected
from tests.gate.checks import moved, prepare, skip_unsupported, uneven_batch_size
from tests.gate.limit import expected_limit
from tests.gate.selection import Selection

# Fewer than in test_kernel: here a random estimate is compared with itself.
FEW_PROJECTIONS = {"proj_dim": 64}

Pair = tuple[Method, Case]


@pytest.mark.parametrize("symmetric", [False, True], ids=["rectangular", "symmetric"])
def test_batch_size(pair: Pair, symmetric: bool, selection: Selection) -> None:
    """Blocks with a smaller last one give the values of no blocks."""
    method, case = pair[0], pair[1].with_symmetry() if symmetric else pair[1]
    request = replace(plain_request(method, selection), batch_size=uneven_batch_size(case))
    skip_unsupported(method, case, request)
    truth = value_without_blocks(method, case, request)
    kernel = prepare(method, case, request)()
    comparison = compare(kernel, truth, outputs="full", dtype="float64", symmetric=case.symmetric)
    assert comparison.ok, f"batch_size={request.batch_size}: {comparison.reason}"


def test_other_parameters(pair: Pair, selection: Selection) -> None:
    """Computing another network of the same shapes gives that network's kernel, and leaves the first one alone."""
    method, case = pair
    request = plain_request(method, selection)
    skip_unsupported(method, case, request)
    first = prepare(method, case, request)
    kernel = first()
    other = moved(case)
    moved_kernel = prepare(method, other, request)()
    if method.kind == "exact":
        comparison = compare(moved_kernel, tape_value(other), outputs="full", dtype="float64", symmetric=False)
        assert comparison.ok, f"a second network, after a first: {comparison.reason}"
    assert not np.array_equal(moved_kernel, kernel), "other parameters and inputs gave the very same kernel"
    np.testing.assert_array_equal(first(), kernel, "the first kernel changed when another network was prepared")


def test_seed(stochastic_pair: Pair, selection: Selection) -> None:
    """The same seed gives the same estimate, another seed another one."""
    method, case = stochastic_pair
    request = plain_request(method, selection)
    skip_unsupported(method, case, request)
    first, again, other = (prepare(method, case, replace(request, seed=seed))() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again, "the same seed gave another kernel")
    assert not np.array_equal(first, other), "another seed gave the very same estimate"


def plain_request(method: Method, selection: Selection) -> Request:
    options = FEW_PROJECTIONS if method.kind == "stochastic" else {}
    return Request(outputs="full", dtype="float64", device=selection.device, seed=1, options=options)


def value_without_blocks(method: Method, case: Case, request: Request) -> Expected:
    """The truth; for a method that is not exact, what it computes itself, normalised with the truth's own diagonal."""
    if method.kind == "exact":
        return expected(case)
    truth = expected_limit(case) if method.kind == "limit" else expected(case)
    return replace(truth, full=prepare(method, case, replace(request, batch_size=None))())


def tape_value(case: Case) -> Expected:
    x2 = case.x1 if case.x2 is None else case.x2
    return float64_expected(case, range(len(case.x1)), range(len(x2)))
