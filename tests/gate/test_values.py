"""Every method × case × dtype × outputs × (symmetric or not) against the truth."""

from __future__ import annotations

import numpy as np

from impls import Method
from reference import Comparison, compare, expected
from reference.statistics import compare_stochastic
from tests.gate.checks import GATE_PROJ_DIM, Check, checks, prepare, skip_unsupported
from tests.gate.limit import compare_limit
from tests.gate.selection import Selection


def test_kernel(check: Check, selection: Selection) -> None:
    """The kernel is right, and a second call computes the same one."""
    method = selection.methods[check.method]
    request = check.request(method, selection.device)
    skip_unsupported(method, check.case, request)
    compute = prepare(method, check.case, request)
    kernel = compute()
    comparison = judge(kernel, check, method, selection)
    assert comparison.ok, comparison.reason
    np.testing.assert_array_equal(compute(), kernel, "a second call gave another kernel")


def judge(kernel: np.ndarray, check: Check, method: Method, selection: Selection) -> Comparison:
    """The comparison that is due for the method's kind."""
    request = check.request(method, selection.device)
    if method.kind == "limit":
        return compare_limit(kernel, check.case, request)
    form = {"outputs": check.outputs, "dtype": check.dtype, "symmetric": check.case.symmetric}
    if method.kind == "stochastic":
        return compare_stochastic(kernel, expected(check.case), proj_dim=GATE_PROJ_DIM,
                                  n_checks=n_stochastic(selection), **form)
    return compare(kernel, expected(check.case), **form)


def n_stochastic(selection: Selection) -> int:
    """How many random estimates a whole run compares; its false alarms are shared out among them."""
    return sum(len(checks(method.name, method.kind)) for method in selection.methods.values()
               if method.kind == "stochastic")
