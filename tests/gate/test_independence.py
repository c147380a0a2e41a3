"""What a kernel must not depend on: the batch size, and what was computed before; a random one, all but its seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from impls import Method
from reference import (
    Case,
    Comparison,
    Expected,
    Request,
    check_form,
    compare,
    expected,
    float64_expected,
    normalised,
    tolerance,
)
from reference.case import DType
from tests.gate.checks import cases_for, moved, prepare, skip_unsupported, uneven_batch_size
from tests.gate.limit import expected_limit
from tests.gate.selection import Selection

# Fewer than in test_kernel: here a random estimate is compared with itself.
FEW_PROJECTIONS = {"proj_dim": 64}

Pair = tuple[Method, Case]


@pytest.mark.against_the_truth
def test_batch_size(pair: Pair, selection: Selection) -> None:
    """Blocks, the last one smaller, give the values of no blocks; in every second case, where it can be, x2 = x1."""
    method, case = pair
    if cases_for(method.kind).index(case) % 2 and len(case.x1) > 2:  # both for every case would take twice as long
        case = case.with_symmetry()
    request = plain_request(method, selection)
    blocked = replace(request, batch_size=uneven_batch_size(case))
    skip_unsupported(method, case, blocked)
    own = None if method.kind == "exact" else prepare(method, case, request)()
    comparison = compare_with(own, prepare(method, case, blocked)(), method, case)
    assert comparison.ok, f"batch_size={blocked.batch_size}: {comparison.reason}"


@pytest.mark.against_the_truth
def test_other_parameters(pair: Pair, selection: Selection) -> None:
    """Computing another network of the same shapes gives that network's kernel, and leaves the first one alone."""
    method, case = pair
    request = plain_request(method, selection)
    skip_unsupported(method, case, request)
    first = prepare(method, case, request)
    kernel = first()
    other = moved(case)
    moved_kernel = prepare(method, other, request)()
    assert not np.array_equal(moved_kernel, kernel), "other parameters and inputs gave the very same kernel"
    if method.kind == "exact":
        comparison = compare(moved_kernel, tape_value(other), outputs="full", dtype="float64", symmetric=False)
        assert comparison.ok, f"a second network, after a first: {comparison.reason}"
    comparison = compare_with(kernel, first(), method, case)
    assert comparison.ok, f"the first kernel, after a second one was computed: {comparison.reason}"


def test_seed(stochastic_pair: Pair, selection: Selection) -> None:
    """The same seed gives the same estimate, another seed another one."""
    method, case = stochastic_pair
    request = plain_request(method, selection)
    skip_unsupported(method, case, request)
    first, again, other = (prepare(method, case, replace(request, seed=seed))() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again, "the same seed gave another kernel")
    assert_other(first, other, case, "float64")


def assert_other(first: np.ndarray, other: np.ndarray, case: Case, dtype: DType) -> None:
    """Estimates from two seeds differ; not where there is no error at all, as with orthogonal projections that are as
    many as the parameters."""
    truth = expected(case)
    exact = normalised(first - truth.full, truth.scale("full")).max() <= tolerance(dtype)
    assert exact or not np.array_equal(first, other), "another seed gave the very same estimate"


def plain_request(method: Method, selection: Selection) -> Request:
    options = FEW_PROJECTIONS if method.kind == "stochastic" else {}
    return Request(outputs="full", dtype="float64", device=selection.device, seed=1, options=options)


def compare_with(own: np.ndarray | None, kernel: np.ndarray, method: Method, case: Case) -> Comparison:
    """`kernel` against what the method computed before, or (None) the truth, with the tolerance of exact kernels."""
    truth = expected_limit(case) if method.kind == "limit" else expected(case)
    form_fault = None if own is None else check_form(own, truth, outputs="full", dtype="float64")
    if form_fault is not None:
        return form_fault
    return compare(kernel, truth if own is None else replace(truth, full=own), outputs="full", dtype="float64",
                   symmetric=case.symmetric)


def tape_value(case: Case) -> Expected:
    x2 = case.x1 if case.x2 is None else case.x2
    return float64_expected(case, range(len(case.x1)), range(len(x2)))
