"""A measurement in a process of its own."""

from __future__ import annotations

import os
from typing import Any

import pytest

from bench.commands import fresh


def tell(what: str, sender: Any) -> None:
    if what != "nothing":
        sender.send((what, os.getpid()))


def test_what_another_process_sends_comes_back() -> None:
    what, pid = fresh.measured(tell, "here")
    assert (what, pid != os.getpid()) == ("here", True)


def test_so_it_does_within_a_limit() -> None:
    assert fresh.measured(tell, "here", limit_s=60)[0] == "here"


def test_nothing_is_none_within_a_limit_and_an_error_without() -> None:
    assert fresh.measured(tell, "nothing", limit_s=60) is None
    with pytest.raises(EOFError):
        fresh.measured(tell, "nothing")
