"""docs/rules.md: what each half's rule book knows, side by side."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType

from impls.structured.jax import products as jax_products
from impls.structured.jax import rules as jax_rules
from impls.structured.rules import RuleBook
from impls.structured.torch import products as torch_products
from impls.structured.torch import rules as torch_rules
from tests.rules.rows import FUNCTIONS, MARKS, ROWS, Row

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"

BOOKS: dict[str, RuleBook] = {"jax": jax_rules.BOOK, "torch": torch_rules.BOOK}
PRODUCTS: dict[str, ModuleType] = {"jax": jax_products, "torch": torch_products}

TITLES = {
    "products": "Where a parameter meets activations",
    "rearranging": "What a parameter is seen through",
    "passing": "What a parameter passes unchanged",
    "taking": "Rearrangements of activations",
    "linear": "Linear in its only array",
    "sums": "Sums",
    "joining": "Laid beside each other",
    "bilinear": "Linear in each of two",
    "linear_in_first": "Linear in the first",
    "casts": "Casts",
    "stops": "Ends of gradients",
}

HEAD = """# What the two engines know of their frameworks

Written by `python -m tests.rules` from the rule books of both halves, `impls/structured/jax/rules.py` and
`impls/structured/torch/rules.py`; a test holds it current, and every operation of a book in one of its rows. The
analysis itself is one (`impls/structured/analysis.py`, `tails.py`, `views.py`). Where a half lacks a rule, the last
column says why. Functions of single numbers are {jax} named ones in JAX and in PyTorch all that have the tag
`pointwise`."""


def faults() -> list[str]:
    """What the rows leave out, or name that no book has; and absences without a reason."""
    return [*_faults_of_names(), *_faults_of_functions(), *_faults_of_marks()]


def page() -> str:
    from impls.structured.jax.names import NUMBER_BY_NUMBER

    parts = [HEAD.format(jax=len(NUMBER_BY_NUMBER))]
    for table, rows in ROWS.items():
        parts.append(f"## {TITLES[table]}\n\n" + _markdown(rows))
    given = [Row(f"`{name}`", *_yes(_gives, name), why) for name, why in FUNCTIONS.items()]
    marks = [Row(f"`{name}`", *_yes(_marks, name), why) for name, why in MARKS.items()]
    parts += ["## Functions that not every rule book gives\n\n" + _markdown(given),
              "## What products are marked with (`impls.structured.uses.Use`)\n\n" + _markdown(marks)]
    return "\n\n".join(parts) + "\n"


def _yes(known: Callable[[str, str], bool], name: str) -> tuple[str, str]:
    return "yes" if known("jax", name) else "", "yes" if known("torch", name) else ""


def _markdown(rows: tuple[Row, ...] | list[Row]) -> str:
    def cell(names: str) -> str:
        return names if names == "yes" else " ".join(f"`{name}`" for name in names.split()) or "–"

    lines = [f"| {row.meaning} | {cell(row.jax)} | {cell(row.torch)} | {row.why} |" for row in rows]
    return "\n".join(["| what | JAX | PyTorch | why not in both |", "| --- | --- | --- | --- |", *lines])


def _faults_of_names() -> Iterator[str]:
    tables = [f.name for f in fields(RuleBook) if isinstance(getattr(BOOKS["jax"], f.name), frozenset)]
    yield from (f"no rows for the table {table!r}" for table in tables if table not in ROWS)
    for table, rows in ROWS.items():
        for half, book in BOOKS.items():
            named = [name for row in rows for name in getattr(row, half).split()]
            known: frozenset[str] = getattr(book, table)
            yield from (f"{half}: {name!r} of {table!r} is in no row: what is it in the other half?"
                        for name in sorted(known - {*named}))
            yield from (f"{half}: {name!r} is no name of {table!r}" for name in sorted({*named} - known))
        yield from (f"{table!r}, {row.meaning!r}: a half has none, and no reason is given"
                    for row in rows if not (row.jax and row.torch) and not row.why)


def _faults_of_functions() -> Iterator[str]:
    defaults = [f.name for f in fields(RuleBook) if f.default is not MISSING and f.name not in ROWS]
    for name in defaults:
        if len({_gives(half, name) for half in BOOKS}) > 1 and not FUNCTIONS.get(name):
            yield f"one half gives {name!r}, and no reason says why the other does not"


def _faults_of_marks() -> Iterator[str]:
    for name, why in MARKS.items():
        if len({_marks(half, name) for half in PRODUCTS}) > 1 and not why:
            yield f"one half marks products as {name!r}, and no reason says why the other does not"


def _gives(half: str, name: str) -> bool:
    default = next(f.default for f in fields(RuleBook) if f.name == name)
    return getattr(BOOKS[half], name) is not default


def _marks(half: str, name: str) -> bool:
    return re.search(rf"\b{name}=", inspect.getsource(PRODUCTS[half])) is not None
