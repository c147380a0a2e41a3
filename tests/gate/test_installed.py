"""What was asked for is there: a framework, or a package, that is missing fails the gate.

Further witnesses of optional packages are asked for with --require-all; without it, one that is missing is reported.
"""

from __future__ import annotations

import pytest

from tests.gate.selection import Selection


def test_installed(name: str, selection: Selection) -> None:
    """The method can be loaded. To leave out a framework on purpose, give --frameworks without it."""
    if selection.method(name) is None:
        error = selection.failures[name]
        if selection.may_be_missing(name):
            pytest.skip(f"optional, and not there: {error}")
        pytest.fail(f"{name} cannot be loaded: {type(error).__name__}: {error}", pytrace=False)
