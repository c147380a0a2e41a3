"""The page on what is tracked names everything that is recorded, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")

import torch

from studies.tracking import Tracker
from tests import ROOT

PLACES = {"KERNEL": r"(kernel|conjugate/[^/]+)", "LAYER": r"[^/]+", "RANK": r"\w+", "PARAMETER": r"[^/]+",
          "TASK": r"\d+"}


def patterns() -> list[str]:
    """Of the names in the first column of the tables, each whole."""
    rows = re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", (ROOT / "docs" / "tracking.md").read_text(), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(.*?)`", row)]
    return ["/".join(PLACES[part] if part in PLACES else re.escape(part) for part in name.split("/")) for name in names]


def test_the_page_names_what_is_recorded(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32), np.arange(6) % 2
    module = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    tracker = Tracker(tmp_path, x, y, layers=("1", "2:input"), weight_spectra=True)
    for step in (0, 1):
        tracker(step, module, tasks={"task/0": (x, y), "current": (x, y)})
    recorded, known = tracker.store.names(), patterns()
    assert [name for name in recorded if not any(re.fullmatch(each, name) for each in known)] == []
    assert [each for each in known if not any(re.fullmatch(each, name) for name in recorded)] == []
