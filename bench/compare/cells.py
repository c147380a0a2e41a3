"""Which cells two commits are compared in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from bench.cells.cases import CaseSource
from bench.cells.data import digits
from bench.cells.profiles import PROFILES, cases_of
from bench.records.record import Cell

SEPARATOR = " · "
"""Between what a cell's label consists of."""


@dataclass(frozen=True)
class Choice:
    """Methods by name × MLPs on the digits × kinds of kernel."""

    methods: tuple[str, ...]
    widths: tuple[int, ...] = (64,)
    batch: tuple[int, ...] = (8,)
    n_outputs: tuple[int, ...] = (10,)
    outputs: tuple[str, ...] = ("full",)
    dtypes: tuple[str, ...] = ("float32",)


def sources(choice: Choice) -> list[CaseSource]:
    """The cases, in order."""
    profile = replace(PROFILES["quick"], widths=choice.widths, channels=(), n_outputs=choice.n_outputs,
                      batch=choice.batch)
    return cases_of(profile, digits())


def cells(choice: Choice, methods: Sequence[str]) -> list[Cell]:
    """The cells of these methods."""
    return [Cell(name, source.name, outputs, dtype)
            for name, source, outputs, dtype in product(methods, sources(choice), choice.outputs, choice.dtypes)]


def label(cell: Cell) -> str:
    """"structured_torch · digits-mlp-w64-o10-n8 · full · float32", with what else is set."""
    more = [cell.device] if cell.device != "cpu" else []
    more += [f"{cell.threads} threads"] if cell.threads != 1 else []
    more += [f"batch_size={cell.batch_size}"] if cell.batch_size else []
    more += [f"{key}={value}" for key, value in sorted(cell.options.items())]
    return SEPARATOR.join([cell.method, cell.case, cell.outputs, cell.dtype, *more])
