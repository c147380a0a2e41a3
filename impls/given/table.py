"""Examples of several inputs by number: the arrays are a table, and a method is given the numbers of its rows.

So no method needs to know of structures: it differentiates f(params, numbers) = model(rows of these numbers), where the
table is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from impls.given import structure
from impls.given.structure import is_array, leaves, mapped
from reference import InputError

Layout = tuple[tuple[str, tuple[int, ...], str], ...]
"""The arrays of one example: path, shape, dtype."""


@dataclass(frozen=True)
class Table:
    """Arrays of one length in a structure, a row for each example."""

    rows: Any
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, numbers: Any) -> Any:
        """The structure with the rows of these numbers."""
        return mapped(self.rows, lambda _, array: array[numbers])

    @property
    def layout(self) -> Layout:
        return tuple((path, tuple(array.shape[1:]), str(array.dtype)) for path, array in leaves(self.rows, "").items())


def table(x: Any, what: str) -> Table:
    """Raises `InputError`, naming the array, unless all have one number of examples on their first axis."""
    found = leaves(x, what)
    if not found:
        raise InputError(f"{what} holds no array; it needs at least one, with a row for each example")
    for path, array in found.items():
        if not array.shape:
            raise InputError(f"{path} is a single number, where each example needs one: give it a row for each, of "
                             "shape (N,), or give a Python number, which is the same for all of them")
    sizes = {path: int(array.shape[0]) for path, array in found.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(f"the inputs have unlike numbers of examples on their first axes: "
                         f"{', '.join(f'{path} {size}' for path, size in sizes.items())}; each needs one row for each "
                         "example (a tuple is one batch of several inputs; batches are a list)")
    return Table(x, next(iter(sizes.values())))


def joined(tables: Sequence[Table], concatenate: Callable[[list[Any]], Any], what: str) -> Table:
    """One after the other; `InputError` unless they are alike but for their lengths."""
    first = tables[0]
    for other in tables[1:]:
        if not alike(first, other):
            raise InputError(f"{what} must hold examples of one structure, shape and dtype, got {first.layout} and "
                             f"{other.layout}, beside {_constants(first)} and {_constants(other)}")
    if len(tables) == 1:
        return first
    columns = [list(leaves(each.rows, "").values()) for each in tables]
    parts = iter(list(zip(*columns, strict=True)))
    return Table(mapped(first.rows, lambda *_: concatenate(list(next(parts)))), sum(map(len, tables)))


def alike(one: Table, other: Table) -> bool:
    """Whether they can be joined."""
    return one.layout == other.layout and _constants(one) == _constants(other)


def _constants(one: Table) -> list[Any]:
    return [] if is_array(one.rows) else structure.constants(one.rows)
