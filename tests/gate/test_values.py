"""Every method × case × dtype × outputs × (symmetric or not) against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from impls import Method
from reference import Comparison, compare, expected
from tests.gate.checks import Check, prepare, skip_unsupported
from tests.gate.limit import compare_limit
from tests.gate.selection import Selection
from tests.gate.stochastic import Shares, judge_entries


@pytest.mark.many_projections
def test_kernel(check: Check, selection: Selection) -> None:
    """The kernel is right, and so is that of a second call."""
    method = selection.methods[check.method]
    request = check.request(method, selection.device)
    skip_unsupported(method, check.case, request)
    compute = prepare(method, check.case, request)
    comparison = judge(compute(), check, method, selection)
    assert comparison.ok, comparison.reason
    if method.kind != "stochastic":  # of those, test_seed looks at repetitions, with fewer projections
        again = judge(compute(), check, method, selection)
        assert again.ok, f"in a second call: {again.reason}"


def judge(kernel: np.ndarray, check: Check, method: Method, selection: Selection) -> Comparison:
    """The comparison that is due for the method's kind."""
    request = check.request(method, selection.device)
    if method.kind == "limit":
        return compare_limit(kernel, check.case, request)
    if method.kind == "stochastic":
        return judge_entries(kernel, check, Shares.of(list(selection.methods.values())))
    return compare(kernel, expected(check.case), outputs=check.outputs, dtype=check.dtype,
                   symmetric=check.case.symmetric)
