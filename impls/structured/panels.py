"""The kernel filled panel by panel: for examples that come in batches, or whose factors do not all fit at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from impls.structured.batches import Reread
from impls.structured.planner import even

Panel = tuple[slice, Any]
"""Where the examples are among all, and what there is of them."""


@dataclass(frozen=True)
class Panels:
    """Examples, at most `size` at a time, with their places among all; they can be iterated over anew.

    Those of an array are panels of one shape: the last one overlaps with the one before, by as little as can be.
    """

    x: Any
    size: int

    def __iter__(self) -> Iterator[Panel]:
        if isinstance(self.x, Reread):
            begun = 0
            for piece in self.x.pieces(self.size):
                yield slice(begun, begun + len(piece)), piece
                begun += len(piece)
            return
        n, size = len(self.x), even(len(self.x), self.size)
        for start in (min(i, n - size) for i in range(0, n, size)):
            yield slice(start, start + size), self.x[start:start + size]


def fill(rows: Iterable[Panel], columns: Iterable[Panel] | None, kept: int, passes: Callable[[Any], Any],
         write: Callable[[slice, slice, Any, Any], None]) -> None:
    """The kernel between all examples of `rows` and of `columns` (None: the same ones, and only half is computed).

    ``write(i, j, left, right)`` is given what `passes` made of two panels, `right` None of the same one. `kept`: panels
    of `rows` of which that is in memory at once; `columns` are iterated over anew for each such group.
    """
    symmetric, source, first = columns is None, iter(rows), 0
    while left := [(i, passes(x)) for i, x in islice(source, kept)]:
        for number, (j, x) in enumerate(rows if columns is None else columns):
            if symmetric and number < first:
                continue
            known = symmetric and number < first + len(left)
            right = left[number - first][1] if known else passes(x)
            for k, (i, factors) in enumerate(left, first):
                if symmetric and number < k:
                    break
                write(i, j, factors, None if symmetric and number == k else right)
        first += len(left)
        del left
