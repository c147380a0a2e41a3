"""The gate fails on methods that are wrong only in some kinds of request, and says in which."""

from __future__ import annotations

from fnmatch import fnmatch

import pytest

from tests.gate import test_requests
from tests.mutants.hold import Death, gate_tests, outcome
from tests.planted import requests
from tests.planted.test_gate import run_gate

pytest_plugins = ["pytester"]


def test_a_right_method_passes(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "correct.py", "CORRECT", "-k", "test_requests")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=23)
    result.stdout.no_fnmatch_line("GATE FAILED*")  # no check was selected, so none is missing


@pytest.mark.parametrize(("name", "reason"), [
    ("SYMMETRIC_BY_SHAPE", "*35 examples in x1, as many in x2: error *"),
    ("MORE_THAN_8_EXAMPLES", "*35 examples in x1, as many in x2: error *"),
    ("BLOCKED_TRACE", "*a network, batch_size=1: error *"),
    ("BLOCKED_FLOAT32", "*a network, batch_size=2: error *"),
    ("BLOCKS_OF_ONE", "*a network, batch_size=1: error *"),
    ("PADDED_BLOCK", "*a network, batch_size=1000: error *"),
    ("STALE_IN_FLOAT32", "*another network after it, batch_size=*: error *"),
    ("MORE_THAN_32_EXAMPLES", "*35 examples in x1, as many in x2: error *"),
    ("BLOCKED_TRACE_IN_FLOAT32", "*a network, batch_size=1: error *"),
    ("MEMORY_READ_IN_C_ORDER", "*35 examples in x1, as many in x2: error *"),
    ("EXP_OVERFLOWS", "*activation='gelu'*: * entries are not finite*"),
    ("STALE_CONSTANTS", "*Layered*: error *"),
    ("STALE_NETWORK", "*activation='tanh'*: error *"),
    ("STALE_X2", "*x2 is changed in place, after it: error *"),
    ("STALE_BY_ID", "*x2 is changed in place, after it: error *"),
    ("MORE_THAN_33_OUTPUTS", "*131 outputs: error *"),
    ("MORE_THAN_128_OUTPUTS_ON_THE_DIAGONAL", "*131 outputs: error *"),
    ("BLOCKED_DIAGONAL_IN_FLOAT64_OF_X1", "*a network, batch_size=*: error *"),
    ("REPEATED_EXAMPLES", "*an example of x1 repeats: error *"),
    ("X2_EQUAL_TO_X1", "*x2 is given, and equal to x1: error *"),
    ("SAME_EXAMPLES", "*x2 holds the examples of x1 in another order: error *"),
    ("SKIPS_HARD_CASES", "*the method raised SkipTest: hard; what it cannot do it says in `unsupported`"),
])
def test_a_mistake_in_some_requests_fails(name: str, reason: str) -> None:
    """The gate's tests are called as functions: that pytest reports what they raise, `tests.planted.test_gate` sees."""
    method = getattr(requests, name)
    asked = [test for test in gate_tests(method) if test.function.__module__ == test_requests.__name__]
    died = [result.message for test in asked if isinstance(result := outcome(test, method), Death)]
    assert any(fnmatch(message, reason) for message in died), died
