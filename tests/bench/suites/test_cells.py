"""The one definition: its methods are the registry's, what is not offered is skipped, and errors are the gate's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import impls
import reference
from bench.suites import cells
from bench.suites.cells import ALL, DEFAULT, Cell, Prepared, Skip, asked, selected
from impls.registry import METHODS

CELL = Cell("explicit_mlp", 16, 3, "full", "float32", "cpu")


def prepared(change: float) -> Prepared:
    """Of a method whose kernel is the true one but for that part of each entry."""
    method, case, _ = asked(CELL)
    every = tuple(range(CELL.batch))
    kernel = reference.float64_expected(case, every, every).full * (1 + change)
    return Prepared(CELL, method, case, lambda: kernel.astype(np.float32))


def test_the_methods_are_those_of_the_registry() -> None:
    assert [name for name, _, _ in METHODS] == list(cells.METHODS)


def test_the_whole_is_asked_for_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cells.VARIABLE, raising=False)
    assert selected() == DEFAULT
    monkeypatch.setenv(cells.VARIABLE, "all")
    assert selected() == ALL
    assert set(DEFAULT.cells()[0].__dataclass_fields__) == set(cells.NAMES)
    monkeypatch.setenv(cells.VARIABLE, "al")
    with pytest.raises(ValueError, match="'al' is not known"):
        selected()


def test_what_a_method_does_not_support_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impls, "unsupported", lambda *asked: "only on Sundays")
    with pytest.raises(Skip, match="only on Sundays"):
        asked(CELL)


@pytest.mark.parametrize("missing", ["load", "unsupported"])
def test_what_a_commit_does_not_have_is_skipped(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(impls, missing)
    with pytest.raises(Skip, match=f"does not offer it: AttributeError: .*{missing}"):
        asked(CELL)


def test_a_method_of_another_commit_is_skipped() -> None:
    with pytest.raises(Skip, match="unknown method 'of_tomorrow'"):
        asked(replace(CELL, method="of_tomorrow"))


def test_rounding_reads_alike_and_a_wrong_kernel_fails() -> None:
    tolerance = reference.tolerance("float32")
    assert prepared(0).error == prepared(tolerance / 20).error == cells.ROUNDING * tolerance
    assert prepared(tolerance / 2).error == pytest.approx(tolerance / 2, rel=0.05)
    with pytest.raises(AssertionError, match="explicit_mlp is wrong"):
        prepared(3 * tolerance).error  # noqa: B018


def test_the_suites_ask_nothing_of_bench() -> None:
    """Today's suites run on the `bench` of any commit."""
    for path in Path(cells.__file__).parent.glob("*.py"):
        assert "from bench" not in path.read_text(), path.name
