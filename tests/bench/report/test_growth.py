"""Exponents of known laws, the picture, and the page that they are written into."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from bench.cells import scale
from bench.cells.profiles import PROFILES, default_cases
from bench.commands.projection import Amounts, times
from bench.pages import marked
from bench.report.growth import Point, curves, exponent, picture
from tests.studies.agreement import agree

ROWS = [{"grows": "N", "size": size, "method": "structured_torch", "seconds": 1e-9 * size**2 + 1e-3,
         "peak_bytes": 2**20} for size in scale.SIZES["N"]]


def test_an_exponent_is_that_of_the_largest_sizes() -> None:
    sizes = (1, 2, 4, 8, 16, 32)
    agree(exponent(sizes, [3.0 * size**1.5 for size in sizes]), 1.5)
    agree(exponent(sizes, [1.0, 1.0, 1.0, *(size**2.0 for size in sizes[3:])]), 2.0)
    assert exponent((1, 2, 3), [1.0, None, 2.0]) is None
    found = curves(ROWS)["N", "structured_torch"]
    measured = exponent([point.size for point in found], [point.seconds for point in found])
    assert measured is not None
    assert 1 < measured < 2


def test_the_picture_has_a_line_for_what_is_measured_and_one_for_what_is_planned() -> None:
    due = {("N", "structured_torch"): [Point(size, 1e6 * size**2, 1e3 * size**2) for size in scale.SIZES["N"]]}
    root = ElementTree.fromstring(picture(curves(ROWS), due))
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4
    assert len(root.findall(".//{http://www.w3.org/2000/svg}circle")) == 2 * len(ROWS)


def test_each_case_of_the_profile_differs_in_one_size() -> None:
    cases = [source.build() for source in default_cases(PROFILES["scale"]) if source.name not in scale.OUTPUTS]
    assert len(cases) == sum(len(scale.SIZES[what]) for what in ("O", "width", "depth"))
    assert {case.network.n_outputs for case in cases} == set(scale.SIZES["O"])
    assert {source.name for source in scale.CASES} > set(scale.OUTPUTS)


def test_what_binds_is_what_takes_longest() -> None:
    slow, fast, binds = times(Amounts(0.0, 67e12, 1e9, 1e6), 6.7e12, 1)
    assert (slow, fast, binds) == (10.0, 1.0, "operations")
    assert times(Amounts(0.0, 67e12, 1e9, 1e6), 6.7e12, 2)[0] == 5.0
    assert times(Amounts(0.0, 1e9, 1e9, 8e9), 6.7e12, 8) == (4.0, 4.0, "disk"), "of all devices there is one disk"


def test_a_page_has_one_place_for_each_table() -> None:
    assert marked("a <!-- x: begin -->\nold\n<!-- x: end --> b", "x", "new") == (
        "a <!-- x: begin -->\nnew\n<!-- x: end --> b")
    with pytest.raises(ValueError, match="has 0 places for y"):
        marked("", "y", "new")
