"""A processor for which the planner chooses otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from impls.structured.hardware import HARDWARE


def set_hardware(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change `Hardware` of the CPU."""
    monkeypatch.setitem(HARDWARE, "cpu", replace(HARDWARE["cpu"], **changes))
