"""One layout for many cases is shown once; the finder knows every row; every figure has its table."""

from __future__ import annotations

import json
import re

from bench.report.choice import Option, choice
from bench.report.markup import element
from bench.report.report import render
from bench.report.summary import rankings
from tests.bench.report.synthetic_records import ENVIRONMENT, failures, synthetic_records
from tests.bench.report.test_report import Page, figures_of

ENVIRONMENTS = {ENVIRONMENT.key: ENVIRONMENT}
TWO_DTYPES = synthetic_records(dtypes=("float32", "float64"), replicates=1)


def test_a_single_option_stands_by_itself():
    assert choice("dtype", [Option("float32", element("p", "one"))]) == "<p>one</p>"
    assert choice("dtype", []) == ""


def test_the_options_are_all_there_without_a_script():
    page = Page(choice("dtype", [Option("float32", element("p", "one")), Option("<b>", element("p", "two"), [3, 4])]))
    assert "hidden" not in [name for _, attributes in page.tags for name in attributes]
    assert [attributes.get("data-cells") for tag, attributes in page.tags if tag == "option"] == [None, "3 4"]
    assert "<b>" in page.text


def test_the_finder_knows_what_every_row_is_about():
    page = Page(render(TWO_DTYPES + failures(), ENVIRONMENTS))
    finder = next(attributes for tag, attributes in page.tags if attributes.get("id") == "finder")
    rows = json.loads(finder["data-rows"] or "")
    ranked = rankings(TWO_DTYPES + failures())
    assert len(rows) == len(ranked)
    n_choices = [attributes.get("class") for _, attributes in page.tags].count("choice")
    n_axes = len([tag for tag, _ in page.tags if tag == "select"]) - n_choices
    assert {len(row) for row in rows} == {n_axes}
    about = [attributes["data-cells"] for tag, attributes in page.tags if tag == "tr" and "data-cells" in attributes]
    cells = [int(cell) for each in about for cell in str(each).split()]
    assert set(cells) == set(range(len(rows)))
    n_entries = sum(len(ranking.entries) for ranking in ranked)
    n_reasons = sum(len(ranking.failed) for ranking in ranked)
    assert len(cells) == 2 * len(rows) + n_entries + n_reasons, "the answer and the status have a row for each cell"


def test_one_cell_leaves_nothing_to_find():
    source = render(synthetic_records(widths=(64,), batches=(8,), n_outputs=(1,))[:2], ENVIRONMENTS)
    assert 'id="finder"' not in source


def test_each_dtype_and_each_group_of_cells_is_shown_at_a_time():
    page = Page(render(TWO_DTYPES, ENVIRONMENTS))
    lists = [tag for tag, attributes in page.tags if attributes.get("class") == "choice"]
    assert len(lists) == 2
    assert [tag for tag, _ in page.tags].count("h3") > 2


def test_every_figure_has_its_table():
    source = render(TWO_DTYPES, ENVIRONMENTS)
    named = re.findall(r"The figure as a table: ([^<]*)", source)
    drawn = figures_of(source)
    times = [name for name in named if name.startswith("time and memory")]
    errors = [name for name in named if name.startswith("errors in")]
    assert 2 * len(times) + len(errors) + named.count("first calls") == len(drawn)
