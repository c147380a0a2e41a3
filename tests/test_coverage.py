"""The page of what the engines cover lists all that is installed, and its rows are true."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("torch", reason="PyTorch's half of the page")

from tests.coverage import torch as of_torch
from tests.coverage.__main__ import PAGE
from tests.coverage.table import Row, page

ROW = re.compile(r"^\| `(?P<operation>[^`]+)` \| (?P<outcome>[a-z ]+) \|", re.MULTILINE)
SAMPLE = ["torch.nn.Conv2d", "torch.nn.RReLU", "torch.linalg.solve", "torch.linalg.lstsq", "torch.fft.rfft"]


def outcomes() -> dict[str, str]:
    return {found["operation"]: found["outcome"] for found in ROW.finditer(PAGE.read_text())}


def test_the_page_lists_all_that_is_installed() -> None:
    assert {name for name in outcomes() if name.startswith("torch.")} == set(of_torch.operations())


def test_rows_are_true() -> None:
    rows = list(of_torch.rows(SAMPLE))
    assert {row.operation: row.outcome for row in rows} == {name: outcomes()[name] for name in SAMPLE}
    assert not [row for row in rows if row.wrong]


def test_a_wrong_kernel_is_wrong() -> None:
    rows = [Row("torch", "a", "rule", "", error) for error in (1e-15, 1e-3, float("nan"))]
    assert [row.wrong for row in rows] == [False, True, True]
    assert "| `a` | rule |  | 1e-03 |" in page(rows, {"torch": "2"})
