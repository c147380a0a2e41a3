"""What is traced once within one call of `ntk`: plans for several limits and the self-check share it.

Only within it, as nothing tells later whether the function still does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Found = TypeVar("Found")

_HERE: ContextVar[dict[Hashable, Any] | None] = ContextVar("traces", default=None)


@contextmanager
def traced_once() -> Iterator[None]:
    """Inside, `once` makes each thing once."""
    token = _HERE.set({})
    try:
        yield
    finally:
        _HERE.reset(token)


def once(f: Any, key: Hashable, make: Callable[[], Found]) -> Found:
    """What was made of this very f with that key, or what `make` gives."""
    if (kept := _HERE.get()) is None:
        return make()
    if (id(f), key) not in kept:
        kept[id(f), key] = f, make()  # with f, whose number nothing else has as long as it lives
    return kept[id(f), key][1]
