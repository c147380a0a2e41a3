"""Replicates become entries, entries become rankings, widths become exponents: on records of known figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

import impls
from bench import units
from bench.records.record import CaseInfo, Cell, Record
from bench.report.labels import Labels
from bench.report.palette import styles
from bench.report.scaling import facets, fit
from bench.report.summary import rankings, totals, winners
from tests.bench.report.synthetic_records import LIMIT, STOCHASTIC, failures, synthetic_records


def row(method: str, samples: tuple[float, ...], *, case: str = "c", width: int | None = 64, **changes) -> Record:
    info = CaseInfo(case, "MLP", width, 8, None, 3, 100, "random")
    return replace(Record(Cell(method, case), info, 0, "ok", samples_s=samples, peak_bytes=1000), **changes)


def test_the_fastest_comes_first_and_the_others_are_told_how_much_slower():
    (ranking,) = rankings([row("slow", (4.0, 5.0, 6.0)), row("fast", (1.0, 2.0, 3.0))])
    assert [(entry.line.method, entry.median_s, entry.slower) for entry in ranking.ranked] == [
        ("fast", 2.0, 1.0), ("slow", 5.0, 2.5)]


def test_replicates_become_the_median_of_their_medians_and_the_worst_error():
    records = [row("a", (1.0, 1.0, 1.0), error=1e-7, peak_bytes=10), row("a", (2.0, 2.0, 9.0), replicate=1, error=3e-7),
               row("a", (4.0, 4.0, 4.0), replicate=2, error=2e-7, peak_bytes=10)]
    (entry,) = rankings(records)[0].entries
    assert (entry.median_s, entry.error, entry.peak_bytes, entry.n_replicates, entry.n_samples) == (2.0, 3e-7, 10, 3, 9)


def test_one_wrong_replicate_makes_the_entry_wrong_and_unranked():
    records = [row("a", (1.0,)), row("a", (1.0,), replicate=1, status="wrong", reason="off by 2"), row("b", (9.0,))]
    (ranking,) = rankings(records)
    assert [entry.line.method for entry in ranking.ranked] == ["b"]
    assert ranking.ranked[0].slower == 1.0
    assert ranking.failed[0].reason == "off by 2 (1 of 2 replicates)"


@pytest.mark.parametrize("kind", ["stochastic", "limit"])
def test_methods_that_are_not_exact_are_shown_but_not_ranked(kind: str):
    (ranking,) = rankings([row("quick", (0.1,), kind=kind), row("exact", (1.0,))])
    assert ranking.fastest is not None
    assert ranking.fastest.line.method == "exact"
    assert [entry.slower for entry in ranking.unranked] == [None]


def test_what_cannot_be_told_apart_shares_places():
    records = [row("a", (1.0, 1.1, 1.2)), row("b", (1.05, 1.15, 1.25)), row("slow", (50.0, 51.0)),
               row("wrong", (1.0,), status="wrong", reason="off")]
    (ranking,) = rankings(records)
    assert [(entry.line.method, str(entry.places)) for entry in ranking.ranked] == [
        ("a", "1–2"), ("b", "1–2"), ("slow", "3")]
    assert [entry.line.method for entry in ranking.leaders] == ["a", "b"]
    assert ranking.failed[0].places is None


def test_a_disturbed_row_tells_less_and_is_counted():
    quiet, busy = (rankings([row("a", (1.0,), disturbance=share), row("b", (4.0,), disturbance=share)])[0]
                   for share in (0.0, 0.9))
    assert [str(entry.places) for entry in quiet.ranked] == ["1", "2"]
    assert [str(entry.places) for entry in busy.ranked] == ["1–2", "1–2"]
    assert [entry.disturbed for entry in (*quiet.ranked, *busy.ranked)] == [0, 0, 1, 1]


@pytest.mark.parametrize("field", ["dtype", "outputs", "device", "threads", "environment"])
def test_what_differs_in_anything_else_is_not_compared(field: str):
    first = row("a", (1.0,))
    value = 4 if field == "threads" else "another"
    changes = {field: value} if field == "environment" else {"cell": replace(first.cell, **{field: value})}
    assert len(rankings([first, replace(first, **changes)])) == 2


def test_settings_of_one_method_are_lines_of_their_own_but_seeds_are_not():
    first = row("a", (1.0,))
    changes = ({"batch_size": 4}, {"options": {"proj_dim": 8}}, {"seed": 5})
    (ranking,) = rankings([first, *(replace(first, cell=replace(first.cell, **change)) for change in changes)])
    assert {entry.line.settings for entry in ranking.entries} == {"", "batch_size=4", "proj_dim=8"}


def test_totals_count_every_status_and_every_win():
    found = {total.line.method: total for total in totals(rankings([*failures(), row("best", (1.0,))]))}
    assert (found["best"].alone, found["best"].shared) == (1, 0)
    assert sum(sum(total.statuses.values()) for total in found.values()) == len(failures()) + 1


def test_wins_are_counted_as_far_as_they_are_certain():
    records = [row("a", (1.0,)), row("b", (99.0,)), row("a", (1.0,), case="d"), row("b", (1.01,), case="d")]
    found = totals(rankings(records))
    assert [(total.alone, total.shared) for total in found] == [(1, 1), (0, 1)]
    assert winners(found) == ["a in 1 and perhaps in 1 more", "b perhaps in 1"]


def test_an_exponent_is_recovered_and_two_widths_give_none():
    found = fit([64, 256, 1024], [3.0 * width**1.5 for width in (64, 256, 1024)])
    assert found is not None
    assert (round(found.exponent, 12), found.n_widths, found.low, found.high) == (1.5, 3, 64, 1024)
    assert fit([64, 64, 256], [1.0, 2.0, 3.0]) is None
    assert fit([64, 256, 1024], [1.0, None, 3.0]) is None


def test_a_facet_holds_the_widths_and_names_what_it_cannot_show():
    records = [row("a", (1.0,), case=f"w{width}", width=width) for width in (64, 128, 256)]
    records.append(row("b", (), case="w256", width=256, status="timeout", reason="too long"))
    (facet,) = facets(rankings(records))
    assert facet.widths == [64, 128, 256]
    assert [(line.method, width, status) for line, width, status in facet.missing] == [("b", 256, "timeout")]


def test_cases_of_one_width_are_not_joined_by_a_line():
    assert len(facets(rankings([row("a", (1.0,), case="one"), row("a", (2.0,), case="two")]))) == 2


def test_labels_say_what_differs_and_are_unique():
    groups = [ranking.group for ranking in rankings(synthetic_records(dtypes=("float32", "float64"), replicates=1))]
    labels = Labels(groups)
    assert labels.columns == ["network", "N", "O", "width", "dtype"]
    assert len({labels.name(group) for group in groups}) == len(groups)
    assert labels.common == "digits, full kernel, cpu, 1 thread, x2 = x1"


def test_cases_that_nothing_else_tells_apart_go_by_their_names():
    groups = [ranking.group for ranking in rankings([row("a", (1.0,), case="one"), row("a", (1.0,), case="two")])]
    assert [Labels(groups).name(group) for group in groups] == ["one", "two"]


def test_a_method_keeps_its_colour_whoever_stands_beside_it():
    name = impls.names()[3]
    assert styles([name])[name] == styles(["zz.mine", *impls.names()])[name]


def test_no_two_methods_of_the_registry_look_alike():
    found = styles([*impls.names(), "one.more"])
    assert len({(style.colour, style.marker) for style in found.values()}) == len(found)


def test_the_synthetic_run_holds_all_three_kinds():
    assert {record.kind for record in synthetic_records(replicates=1) if record.cell.method in (LIMIT, STOCHASTIC)} == {
        "limit", "stochastic"}


@pytest.mark.parametrize(("value", "text"), [
    (1.234e-9, "1.23 ns"), (9.996e-6, "10.0 µs"), (0.0123, "12.3 ms"), (0.9999, "1.00 s"), (123.4, "123 s"),
    (None, "–")])
def test_seconds(value: float | None, text: str):
    assert units.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (512, "512 B"), (1536, "1.50 KiB"), (3 * 2**30, "3.00 GiB")])
def test_memory(value: float, text: str):
    assert units.memory(value) == text
