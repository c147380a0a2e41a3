"""The table on the terminal: order, widths, and that nothing is read as markup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from bench.records.record import Record
from bench.report.table import print_table
from tests.bench.report.synthetic_records import failures, synthetic_records


def printed(records: list[Record], width: int = 80) -> str:
    stream = io.StringIO()
    print_table(records, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_names_and_figures_are_whole_at_that_width(width: int):
    text = printed(synthetic_records(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "neural_tangents.structured_derivatives" in text
    assert "…" not in text
    assert "float64 tape" not in text


def test_the_spread_is_shown_where_there_is_room():
    records = synthetic_records(widths=(64,), batches=(8,))
    assert "±" not in printed(records, 80)
    assert "±" in printed(records, 120)


def test_the_fastest_comes_first_and_unranked_kinds_say_so():
    block = printed(synthetic_records(widths=(64,), batches=(32,), n_outputs=(10,))).split("\n\n")[1].splitlines()
    assert block[2].split()[0] == "explicit_mlp"
    assert "1.00×" in block[2]
    kinds = [word for line in block for word in line.split() if word in ("limit", "stoch")]
    assert kinds == ["limit", "stoch"]


def test_the_error_of_kinds_that_are_not_ranked_is_explained():
    text = " ".join(printed(synthetic_records(widths=(64,), batches=(8,))).split())
    assert '"error" of "limit" is the distance of another kernel from the finite one; of "stoch" is the noise' in text
    assert '"error" of' not in printed(synthetic_records(widths=(64,), batches=(8,), methods=["equinox.exact"]))


def test_a_shared_place_is_shown():
    first = synthetic_records(widths=(64,), batches=(8,), n_outputs=(1,), methods=["equinox.exact"], replicates=1)[0]
    second = replace(first, cell=replace(first.cell, method="mine"))
    assert printed([first, second]).count("1–2") == 2


def test_a_busy_machine_is_said_at_the_top_and_a_disturbed_time_is_marked():
    quiet = synthetic_records(widths=(64,), batches=(8,), n_outputs=(1,), methods=["equinox.exact"], replicates=1)[0]
    busy = replace(quiet, disturbance=0.5, attempts=2)
    assert printed([busy]).startswith("The machine was busy: 1 of 1 measurements were disturbed")
    assert "µs*" in printed([busy])
    assert printed([replace(quiet, disturbance=0.0)]).startswith("The machine was quiet")
    assert printed([quiet]).startswith("All cells"), "of rows that do not tell nothing is said"
    assert "µs*" not in printed([quiet])


def test_every_status_has_its_reason():
    text = " ".join(printed(failures(), 160).split())
    for record in failures():
        assert record.status.replace("_", " ") in text
        assert " ".join(record.reason.split()) in text
    assert "No exact method gave a correct kernel" in text


def test_the_summary_counts_the_cells_of_each_method():
    lines = printed(synthetic_records(batches=(8,)), 100).splitlines()
    summary = [line for line in lines if line.startswith("explicit_mlp")][-1]
    assert summary.split()[:3] == ["explicit_mlp", "6", "0+3"]
    assert summary.rstrip().endswith("2 unsupported")


def test_brackets_are_no_markup():
    crash = replace(failures()[0], reason="[red]shapes[/red] [/nothing]")
    crash = replace(crash, cell=replace(crash.cell, method="[bold]mine[/bold]"))
    text = printed([crash])
    assert "[red]shapes[/red] [/nothing]" in text
    assert "[bold]mine[/bold]" in text


def test_nothing_measured_is_said():
    assert "Nothing has been measured" in printed([])
