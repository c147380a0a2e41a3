"""For the mutation run alone: the gate's own tests, called as functions, on right methods and on mutants.

Not collected by default. Quick ones: mutants that need no compilation.
"""

from __future__ import annotations

import pytest

from impls import Method, load
from reference.cases import names
from tests.mutants import explicit_mutants, layerwise_mutants, numpy_mutants
from tests.mutants.hold import Death, GateTest, distance, gate_tests, outcome
from tests.mutants.mutant import Mutant, base_method

MUTANTS = (*numpy_mutants.MUTANTS, *explicit_mutants.MUTANTS, *layerwise_mutants.MUTANTS)
DENSE_CASES = tuple(name for name in names() if name.startswith(("mlp", "linear")))
FEW_CASES = ("linear", "mlp_gelu", "mlp_tanh_ntk", "residual_batch_norm", "transformer", None)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_dies_where_expected(mutant: Mutant) -> None:
    """Held against that test only: through all of them, a mutant of the gate that lets it live would take minutes."""
    method = mutant.method()
    if mutant.check == "the summary":
        assert {outcome(test, method) for test in gate_tests(method) if test.check is not None} == {"skipped"}
        return
    held = sorted((test for test in gate_tests(method)
                   if test.name == mutant.check and mutant.case in (None, test.case)),
                  key=lambda test: distance(test, mutant))
    with mutant.around():
        died = next((result for test in held if isinstance(result := outcome(test, method), Death)), None)
    assert died is not None
    assert (None if died.error is None else type(died.error)) is mutant.raises


def quick_tests(method: Method, cases: tuple[str | None, ...]) -> list[GateTest]:
    """Without those on random networks and of many projections, which take seconds, and on a user's model, which these
    methods do not take."""
    return [test for test in gate_tests(method)
            if test.case in cases and not test.name.startswith(("test_laws", "test_a_model", "test_unbiased"))]


@pytest.mark.parametrize("test", [test for name in ("planted.correct", "planted.right_projections")
                                  for test in quick_tests(base_method(name), FEW_CASES)],
                         ids=lambda test: f"{test.name}-{test.where}")
def test_the_right_pass(test: GateTest) -> None:
    method = test.arguments["selection"].impl
    assert outcome(test, method) == "passed"


@pytest.mark.parametrize("test", quick_tests(load("explicit_mlp"), (None, *DENSE_CASES)),
                         ids=lambda test: f"{test.name}-{test.where}")
def test_the_closed_form(test: GateTest) -> None:
    # A fully connected network has no constants, and is no transformer.
    takes_it = test.arguments.get("what") != "constants" and test.name != "test_larger_network"
    assert outcome(test, load("explicit_mlp")) == ("passed" if takes_it else "skipped")
