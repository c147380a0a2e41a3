"""The rule books of both engines side by side: a rule of one half is missed in the other, or a reason says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("jax", reason="the rule book of JAX's half needs it")
pytest.importorskip("torch", reason="the rule book of PyTorch's half needs it")

from tests.rules import table
from tests.rules.rows import ROWS, Row


def test_every_operation_has_its_row() -> None:
    assert table.faults() == []


def test_page_is_current() -> None:
    assert table.PAGE.read_text("utf-8") == table.page(), "docs/rules.md is old: run `python -m tests.rules`"


@pytest.mark.parametrize("half", ["jax", "torch"])
def test_a_rule_of_one_half_is_seen(half: str, monkeypatch: pytest.MonkeyPatch) -> None:
    book = table.BOOKS[half]
    monkeypatch.setitem(table.BOOKS, half, replace(book, products=book.products | {"new"}))
    assert any("'new' of 'products'" in fault for fault in table.faults())


def test_an_absence_without_a_reason_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS, "stops", (Row("no gradient", "stop_gradient", ""),))
    assert any("no reason is given" in fault for fault in table.faults())
