"""Every mutant dies by the gate's own tests, where a method without the mistake passes (docs/mutants.md)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

if missing := [package for package in ("torch", "jax", "equinox", "neural_tangents") if find_spec(package) is None]:
    pytest.skip(f"the mutants are of methods of every framework; not installed: {', '.join(missing)}",
                allow_module_level=True)

from impls import Method
from reference import seed_of
from tests.mutants.hold import death, gate_tests
from tests.mutants.mutant import Mutant, base_method
from tests.mutants.registry import ITEMS, MUTANTS
from tests.mutants.table import PATH, REMEDY, is_killed, page, rows_before, unjudged


@pytest.fixture(scope="module", autouse=True)
def programs_dropped_at_the_end() -> Iterator[None]:
    """See `few_programs_in_memory` in tests/gate/conftest.py."""
    yield
    sys.modules["jax"].clear_caches()


def _sample() -> Iterator[Mutant]:
    """One in three, and the first of each item of the list in each framework; `nox -s mutants` holds them all."""
    seen = set()
    for mutant in MUTANTS:
        kind = mutant.item, mutant.framework
        if kind not in seen or not seed_of(mutant.name) % 3:
            yield mutant
        seen.add(kind)


SAMPLE = list(_sample())


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.name)
def test_it_dies(mutant: Mutant) -> None:
    died = death(mutant)
    assert died is not None, f"survived: {mutant.what} ({mutant.architecture})"
    raised = None if died.error is None else type(died.error)
    assert raised is mutant.raises, f"it raises, so that no value was looked at: {died.message}"


def test_every_item_of_the_list_has_mutants() -> None:
    counts = Counter(mutant.item for mutant in MUTANTS)
    assert counts.keys() == {*ITEMS, ""}
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) >= 100


@pytest.mark.parametrize("item", ["1", "2", "3", "4", "6", "7", "9", "12", "16", "17", "18", "19", "20"])
def test_an_item_that_can_happen_in_both_frameworks_does(item: str) -> None:
    assert {"torch", "jax"} <= {mutant.framework for mutant in MUTANTS if mutant.item == item}


def test_the_table_is_that_of_these_mutants() -> None:
    rows = [line for line in PATH.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(MUTANTS), REMEDY
    for line, mutant in zip(rows, MUTANTS, strict=True):
        assert line.startswith(unjudged(mutant)), REMEDY
        assert is_killed(line)


def test_the_table_holds_what_it_held_when_it_is_written_in_parts() -> None:
    assert page(rows_before(PATH)) == PATH.read_text()


@pytest.mark.parametrize("base", sorted({mutant.base for mutant in MUTANTS}))
def test_the_gate_is_asked_as_pytest_asks_it(base: str) -> None:
    """The tests that are called are those that pytest collects for a method of that kind, each once."""
    method: Method = base_method(base)
    tests = gate_tests(method)
    assert len({(test.name, test.where) for test in tests}) == len(tests)
    assert {"test_kernel", "test_batch_size", "test_other_parameters", "test_no_global_state_is_changed"} <= {
        test.name for test in tests}
