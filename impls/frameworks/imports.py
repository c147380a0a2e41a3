"""Importing other people's packages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def invalid_escapes() -> Iterator[None]:
    """Inside, Python does not warn of invalid escape sequences, which some packages have in their docstrings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # before Python 3.12
        warnings.simplefilter("ignore", SyntaxWarning)
        yield
