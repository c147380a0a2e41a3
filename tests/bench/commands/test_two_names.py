"""Two names of one method share the place in 99 % of cells, by what was measured; the tool that measures it works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.commands.two_names import RESULTS, SHARED, counts, main, table


def _half(ratio: float) -> dict:
    """Five cells of one method whose twin takes `ratio` times as long, beside one that takes 50 times as long."""
    cell = {"m": {"0": [1.0, 0.0], "1": [1.1, 0.0]}, "m.twin": {"0": [ratio, 0.0], "1": [1.1 * ratio, 0.0]},
            "slow": {"0": [50.0, 0.0], "1": [50.0, 0.0]}, "slow.twin": {"0": [51.0, 0.0], "1": [49.0, 0.0]}}
    return {"machine": "a machine", "weather": "", "cells": dict.fromkeys("abcde", cell)}


def test_two_names_share_the_place_by_what_was_measured() -> None:
    kept = json.loads(RESULTS.read_text("utf-8"))
    assert "busy" in kept
    for half in kept.values():
        for count in counts(half):
            assert count.shared >= SHARED * count.cells
    told = counts(kept["busy"])
    assert told[-1].told > 0, "a ranking that tells nothing apart would be right as well"


def test_the_page_shows_what_is_kept() -> None:
    page = (RESULTS.parents[2] / "docs/noise.md").read_text("utf-8")
    for line in table(json.loads(RESULTS.read_text("utf-8"))).splitlines():
        assert line in page, "made by: python -m bench.commands.two_names show"


def test_what_is_told_apart_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same, other = counts(_half(1.05)), counts(_half(20.0))
    assert [(each.processes, each.cells, each.shared, each.others, each.told) for each in same] == [
        (1, 10, 10, 20, 20), (2, 10, 10, 20, 20)]
    assert [each.shared for each in other] == [5, 5]
    for ratio, status in ((1.05, 0), (20.0, 1)):
        (tmp_path / "kept.json").write_text(json.dumps({"busy": _half(ratio)}))
        assert main(["show", "--file", str(tmp_path / "kept.json")]) == status
    assert "| busy | 2 | 10 | 50.0 % | 20 | 100 % |" in capsys.readouterr().out
