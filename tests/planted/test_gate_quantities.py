"""The gate's tests of other kernels: right methods pass, and every planted mistake is caught."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reference import Comparison
from tests.gate.quantities import QuantityCheck, checks_of, judge
from tests.planted import quantities as planted
from tests.planted.test_gate import run_gate

pytest_plugins = ["pytester"]

N_CHECKS = 40
"""Averages in a run with three such methods."""


def due(method: planted.Planted, case: str = "mlp_relu") -> list[QuantityCheck]:
    return [check for check in checks_of(method, method.quantities[0]) if check.case.name == case]


def verdicts(method: planted.Planted, case: str = "mlp_relu") -> list[Comparison]:
    """With one seed for all, so that their draws are drawn once."""
    return [judge(method.prepare(check.case, replace(check.request("cpu"), seed=1))(), check, method, N_CHECKS)
            for check in due(method, case)]


@pytest.mark.parametrize("method", [planted.AVERAGED, planted.INFINITE, planted.FEATURES], ids=lambda each: each.name)
def test_right_methods_pass(method: planted.Planted) -> None:
    assert [verdict.reason for verdict in verdicts(method)] == [""] * 4


@pytest.mark.parametrize(("method", "forms", "reason"), [
    (planted.SUMMED, 3, "the best constant factor is"),  # 3; in the trace it shows nothing
    (planted.MEAN_FOR_TRACE, 1, "the best constant factor is 0.3"),
    (planted.QUARTER_TOO_LARGE, 2, "the best constant factor is 1.2"),
    (planted.OTHERS_FOR_X2, 3, "standard errors off"),
    (planted.OF_THE_PARAMETERS, 4, "standard errors off"),
    (planted.TANGENT, 4, "standard errors off"),
    (planted.WITHOUT_BIASES, 4, "standard errors off"),
    (planted.LIMIT_SUMMED, 3, "every entry is off by the factor 3"),
    (planted.NOT_DIVIDED, 4, "every entry is off by the factor 11"),
    (planted.BEFORE_THE_ACTIVATION, 4, "entries are wrong"),
    (planted.CENTRED, 4, "entries are wrong"),
    (planted.WITH_OUTPUTS, 1, "the kernel has shape (4, 2, 3, 3)"),
], ids=lambda value: getattr(value, "name", ""))
def test_a_mistake_fails_and_is_named(method: planted.Planted, forms: int, reason: str) -> None:
    wrong = [verdict.reason for verdict in verdicts(method) if not verdict.ok]
    assert len(wrong) >= forms, wrong
    assert any(reason in each for each in wrong), wrong


def test_the_gate_fails_and_says_why(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "quantities.py", "NOT_DIVIDED", "-k", "test_quantity and mlp_relu and not deep")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *every entry is off by the factor 11*"])


def test_the_gate_passes_a_right_method_and_asks_no_ntk_of_it(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "quantities.py", "FEATURES", "-k", "test_quantities or test_installed")
    assert result.ret == pytest.ExitCode.OK, result.outlines[-30:]
    result.stdout.no_fnmatch_line("GATE FAILED*")
