"""What is exported comes back as it was, from all three formats."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.records.export import COLUMNS, export, load_json, row
from bench.records.record import Record
from bench.records.store import Store
from reference import InputError
from tests.bench.report.synthetic_records import ENVIRONMENT, failures, synthetic_records

ENVIRONMENTS = {ENVIRONMENT.key: ENVIRONMENT}


def records() -> list[Record]:
    """Every status, every kind, odd characters, and numbers that are not finite."""
    reason = 'quote " comma , semicolon ; newline \n <é> 日本'
    odd = replace(failures()[0], reason=reason, error=math.nan, tolerance=math.inf)
    return [*synthetic_records(widths=(64,), batches=(8,)), *failures(), odd]


def expected() -> list[dict]:
    return [row(record, ENVIRONMENT) for record in records()]


def test_rows_have_the_columns_and_their_types():
    for values in expected():
        assert list(values) == list(COLUMNS)
        for name, value in values.items():
            assert value is None or isinstance(value, COLUMNS[name])


def test_json_is_strict_and_comes_back(tmp_path: Path):
    path = tmp_path / "out.json"
    export(records(), ENVIRONMENTS, "json", path)
    assert json.loads(path.read_text("utf-8"), parse_constant=pytest.fail) == expected()


def test_json_comes_back_as_records(tmp_path: Path):
    given = records()[:-1]  # numbers that are not finite are written as None
    export(given, ENVIRONMENTS, "json", tmp_path / "out.json")
    assert load_json(tmp_path / "out.json") == (given, ENVIRONMENTS)


@pytest.mark.parametrize(("name", "value"), [
    ("samples_s", '["a"]'), ("samples_s", "[true]"), ("samples_s", "[" * 100_000), ("replicate", None), ("method", 3),
    ("options", "[]"), ("status", "great"), ("disturbance", "much"), ("case_digest", 5), ("versions", "[1]"),
    ("environment", None), ("threads", "1")])
def test_a_row_that_was_edited_to_another_type_is_refused(name: str, value: object, tmp_path: Path):
    row_ = expected()[0] | {name: value}
    (tmp_path / "rows.json").write_text(json.dumps([row_]))
    with pytest.raises(InputError, match=r"rows\.json is no file of"):
        load_json(tmp_path / "rows.json")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"method": "mine"}]'])
def test_other_json_is_refused(content: str, tmp_path: Path):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(InputError, match=r"rows\.json is no file of"):
        load_json(tmp_path / "rows.json")


def test_csv_comes_back(tmp_path: Path):
    path = tmp_path / "out.csv"
    export(records(), ENVIRONMENTS, "csv", path)
    with path.open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert found == [{name: "" if value is None else str(value) for name, value in values.items()}
                     for values in expected()]


def test_parquet_comes_back_with_its_types(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="parquet needs pyarrow")
    path = tmp_path / "out.parquet"
    export(records(), ENVIRONMENTS, "parquet", path)
    assert parquet.read_table(path).to_pylist() == expected()


def test_an_empty_store_has_columns_all_the_same(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="parquet needs pyarrow")
    export([], {}, "parquet", tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet").column_names == list(COLUMNS)


def test_the_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]):
    export(records(), ENVIRONMENTS, "csv")
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == len(records())


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_how_to_get_a_file(terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("tyro", reason="the command line is not installed")
    from bench.commands.cli import main

    Store.create(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert main(["export", "--out", str(tmp_path)]) == 0
    assert ("--file FILE" in capsys.readouterr().err) == terminal


def test_samples_and_versions_are_json_texts():
    values = expected()[0]
    assert json.loads(values["samples_s"]) == list(records()[0].samples_s)
    assert json.loads(values["versions"]) == ENVIRONMENT.versions


def test_a_row_of_an_unknown_machine_has_no_machine():
    assert row(records()[0], None)["machine"] is None


@pytest.mark.parametrize(("format", "path", "message"), [
    ("xml", None, "unknown format 'xml'; choose one of csv, json, parquet"), ("parquet", None, "name a file"),
    ("csv", "missing/out.csv", "cannot write .*No such file"), ("parquet", "missing/out.parquet", "cannot write")])
def test_what_cannot_be_written_is_refused(format, path: str | None, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message):
        export(records(), ENVIRONMENTS, format, None if path is None else tmp_path / path)


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@sum", "\t=1", "\r=1", '<img src=x onerror="alert(1)">'])
def test_a_spreadsheet_runs_no_name_of_a_csv(name: str, tmp_path: Path):
    record = synthetic_records(widths=(64,), batches=(8,), replicates=1)[0]
    hostile = replace(record, cell=replace(record.cell, method=name), reason=name, info=replace(record.info, case=name))
    export([hostile], {}, "csv", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream))
    formula = name[0] in "=+-@\t\r"
    for column in ("method", "reason", "case"):
        assert row[column] == (f"'{name}" if formula else name)
    export([hostile], {}, "json", tmp_path / "rows.json")
    assert load_json(tmp_path / "rows.json")[0][0].cell.method == name
