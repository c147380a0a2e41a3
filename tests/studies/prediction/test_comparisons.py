"""Every way of predicting against every other way to the same outputs; the table of docs/prediction.md is of these."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests import ROOT
from tests.studies.prediction.comparisons import COMPARISONS, NEEDS, Comparison

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")


@pytest.mark.parametrize("comparison", COMPARISONS, ids=[f"{each.way}-{each.witness}" for each in COMPARISONS])
def test_they_agree(comparison: Comparison) -> None:
    needed = NEEDS.get(comparison.witness)
    if needed is not None and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    assert comparison.error() <= comparison.allowed


def test_the_page_has_all_of_them() -> None:
    """Else it is older than the comparisons: `nox -s agreement`."""
    page = (ROOT / "docs" / "prediction.md").read_text()
    rows = {cells[1].strip(): cells for cells in (line.split("|") for line in page.splitlines()) if len(cells) > 2}
    header = [cell.strip() for cell in rows["prediction"]]
    for each in COMPARISONS:
        assert float(rows[each.way][header.index(each.witness)]) <= each.allowed
