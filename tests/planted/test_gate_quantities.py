"""The gate's tests of other kernels: right methods pass, and every planted mistake is caught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reference import Case, Comparison, Request
from reference.initialisations import draw_outputs
from tests.gate.quantities import QuantityCheck, checks_of, judge
from tests.mutants.hold import Death, gate_tests, outcome
from tests.planted import quantities as planted
from tests.planted.correct import second_inputs
from tests.planted.exact import Compute
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


def stale(compute: Compute) -> Compute:
    """What was computed at first for these parameters, shapes and draws, whatever the examples are by then."""
    kept: dict[object, np.ndarray] = {}

    def computed(case: Case, request: Request) -> np.ndarray:
        shapes = case.x1.shape, second_inputs(case).shape
        key = (*(array.tobytes() for array in case.params.values()), shapes, request.seed)
        if key not in kept:
            kept[key] = compute(case, request)
        return kept[key]

    return computed


def drawn_anew(case: Case, request: Request) -> np.ndarray:
    """As `planted.averaged`, which keeps its draws for examples that do not change."""
    n1 = len(case.x1)
    drawn = draw_outputs(case, request.options["n_samples"], np.random.default_rng(request.seed))
    return np.einsum("sna,smb->nmab", drawn[:, :n1], drawn[:, :n1] if case.symmetric else drawn[:, n1:]) / len(drawn)


def full_blocks_only(case: Case, request: Request) -> np.ndarray:
    """What blocks of 16 draws leave is lost."""
    asked = request.options["n_samples"]
    made = asked // 16 * 16
    return drawn_anew(case, replace(request, options={"n_samples": made})) * made / asked


def beyond_64(kernel: np.ndarray, case: Case, request: Request) -> np.ndarray:
    return kernel * (1.01 if len(case.x1) > 64 else 1.0)


def blocked_float32(kernel: np.ndarray, case: Case, request: Request) -> np.ndarray:
    return kernel * (1.01 if request.batch_size is not None and request.dtype == "float32" else 1.0)


@pytest.mark.parametrize(("method", "test"), [
    (replace(planted.FEATURES, compute=stale(planted.features)), "test_the_same_examples_in_another_order"),
    (replace(planted.INFINITE, compute=stale(planted.infinite)), "test_the_same_examples_in_another_order"),
    (replace(planted.AVERAGED, compute=stale(drawn_anew)), "test_the_same_examples_in_another_order"),
    (replace(planted.FEATURES, change=beyond_64), "test_a_quantity_of_many_examples"),
    (replace(planted.INFINITE, change=beyond_64), "test_a_quantity_of_many_examples"),
    (replace(planted.FEATURES, change=blocked_float32), "test_a_quantity_of_many_examples"),
    (replace(planted.AVERAGED, compute=full_blocks_only), "test_no_draw_is_lost"),
], ids=lambda value: getattr(value, "name", value))
def test_what_the_stored_requests_do_not_show_is_caught(method: planted.Planted, test: str) -> None:
    right = replace(method, compute={"stochastic": drawn_anew, "limit": planted.infinite}.get(
        method.kind, planted.features), change=planted.as_it_is)
    assert all(outcome(each, right) == "passed" for each in gate_tests(right) if each.name == test)
    died = [outcome(each, method) for each in gate_tests(method) if each.name == test]
    assert any(isinstance(each, Death) and each.error is None for each in died), died


def test_the_gate_fails_and_says_why(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "quantities.py", "NOT_DIVIDED", "-k", "test_quantity and mlp_relu and not deep")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *every entry is off by the factor 11*"])


def test_the_gate_passes_a_right_method_and_asks_no_ntk_of_it(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "quantities.py", "FEATURES", "-k", "test_quantities or test_installed")
    assert result.ret == pytest.ExitCode.OK, result.outlines[-30:]
    result.stdout.no_fnmatch_line("GATE FAILED*")
