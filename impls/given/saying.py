"""What is told on the way, where `verbose` asks for it."""

from __future__ import annotations

from collections.abc import Callable


def saying(verbose: bool) -> Callable[[str], None]:
    """Prints each line, or does nothing with it."""
    return print if verbose else say_nothing


def say_nothing(_: str) -> None:
    """As of verbose=False."""
