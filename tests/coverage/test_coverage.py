"""The page of what the engines cover lists all that is installed, and its rows are true."""

from __future__ import annotations

import re
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch's half of the page")
jax = pytest.importorskip("jax", reason="JAX's half of the page")

from tests.coverage import jax as of_jax  # noqa: E402
from tests.coverage import torch as of_torch  # noqa: E402
from tests.coverage.__main__ import PAGE  # noqa: E402
from tests.coverage.table import Row, page  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

ROW = re.compile(r"^\| `(?P<operation>[^`]+)` \| (?P<outcome>[a-z ]+) \|", re.MULTILINE)
HALVES = {"torch": of_torch, "jax": of_jax}
SAMPLES = {
    "torch": ["torch.nn.Conv2d", "torch.nn.RReLU", "torch.linalg.solve", "torch.linalg.lstsq", "torch.fft.rfft"],
    "jax": ["jax.lax.while_loop", "jax.lax.zeta", "jax.nn.gelu", "jax.numpy.linalg.solve", "jax.numpy.fft.rfft"],
}


def outcomes() -> dict[str, str]:
    return {found["operation"]: found["outcome"] for found in ROW.finditer(PAGE.read_text())}


@pytest.mark.parametrize(("framework", "half"), HALVES.items())
def test_the_page_lists_all_that_is_installed(framework: str, half: Any) -> None:
    assert {name for name in outcomes() if name.startswith(f"{framework}.")} == set(half.operations())


@pytest.mark.parametrize("framework", HALVES)
def test_rows_are_true(framework: str) -> None:
    sample = SAMPLES[framework]
    rows = list(HALVES[framework].rows(sample))
    assert {row.operation: row.outcome for row in rows} == {name: outcomes()[name] for name in sample}
    assert not [row for row in rows if row.wrong]


def test_every_operation_of_jax_has_a_network_or_a_reason() -> None:
    assert set(of_jax.operations()) <= {*of_jax.OPERATIONS, *of_jax.NOT_TRIED}


def test_a_wrong_kernel_is_wrong() -> None:
    rows = [Row("torch", "a", "rule", "", error) for error in (1e-15, 1e-3, float("nan"))]
    assert [row.wrong for row in rows] == [False, True, True]
    assert "| `a` | rule |  | 1e-03 |" in page(rows, {"torch": "2"})
