"""The first screen answers three questions in words."""

from __future__ import annotations

from dataclasses import replace

from bench.records.noise import weather
from bench.records.record import Record
from bench.report.labels import Labels
from bench.report.opening import opening
from bench.report.summary import rankings
from tests.bench.report.synthetic_records import failures, synthetic_records
from tests.bench.report.test_report import Page

QUICK = synthetic_records(batches=(8,), replicates=1)


def said(records: list[Record]) -> str:
    ranked = rankings(records)
    return Page(opening(ranked, Labels([ranking.group for ranking in ranked]), weather(records))).text


def test_which_method_for_which_network():
    text = said(QUICK)
    assert "MLP, 6 cells: " in text
    assert "ConvNet, 2 cells: " in text


def test_how_sure():
    text = said(QUICK)
    assert "of 8 cells one method is certainly the fastest, from 1 process of each" in text
    assert "a kernel which was found right: errors up to" in text


def test_what_was_wrong():
    assert "Nothing: no kernel was wrong" in said(QUICK)
    text = said(QUICK + failures())
    for status in ("wrong", "nonfinite", "crash"):
        assert f"{status} in 1 of" in text
    assert "Oom in 1, timeout in 1: gave no answer" in text
    assert ", not installed in 1: left out" in text


def test_no_correct_kernel_and_no_record():
    assert "there is no fastest one" in said([replace(record, status="timeout", samples_s=()) for record in QUICK])
    assert said([]).startswith("Nothing has been measured yet")
