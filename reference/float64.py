"""The tape run in float64: the expected kernel on a few examples of a case that is too large for a proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from reference.arithmetic import FLOAT64
from reference.case import Case, InputError
from reference.expected import Expected
from reference.jacobian import Linearisation, linearise
from reference.layered import Described

_NUMBERS = 1 << 25
"""Of Jacobians held at a time."""


def float64_expected(case: Case, examples1: Sequence[int], examples2: Sequence[int]) -> Expected:
    """The kernel between examples `examples1` of x1 and `examples2` of x2 (of x1 where x2 is None).

    Holds the Jacobians of some parameters at a time: (len(examples2) + 1)·O·(entries of these)·8 bytes, 256 MiB or what
    the largest parameter needs.
    Raises `InputError` for a network that the reference has no forward pass for, and for an example that is not there.
    """
    if not isinstance(case.network, Described):
        kind = type(case.network).__name__
        raise InputError(f"the reference computes its own networks, not {kind} (case {case.name!r})")
    first = _linearise(case, case.x1, examples1, "x1")
    same = case.x2 is None and list(examples1) == list(examples2)
    second = first if same else _linearise(case, case.x1 if case.x2 is None else case.x2, examples2, "x2")
    source = f"float64 tape on examples {_listed(examples1)} of x1 and {_listed(examples2)} of x2"
    shares = [_share(first, second, names) for names in _parts(case, len(second) + 1)]
    full, block1, block2 = (np.sum(arrays, axis=0) for arrays in zip(*shares, strict=True))
    return Expected(full, block1, block2, source)


def _linearise(case: Case, x: np.ndarray, examples: Sequence[int], what: str) -> list[Linearisation]:
    assert isinstance(case.network, Described)
    if not len(examples) or not all(0 <= n < len(x) for n in examples):
        raise InputError(f"{what} of case {case.name!r} has examples 0 to {len(x) - 1}, got {_listed(examples)}")
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in {**case.params, **case.constants}.items()}
    return [linearise(case.network, FLOAT64, arrays, x[n]) for n in examples]


def _parts(case: Case, n_examples: int) -> Iterator[list[str]]:
    """The parameters in order, as many at a time as fit: every part is one backward pass for each output."""
    assert isinstance(case.network, Described)
    room = _NUMBERS // (n_examples * case.network.n_outputs)
    part: list[str] = []
    held = 0
    for name, value in case.params.items():
        if part and held + value.size > room:
            yield part
            part, held = [], 0
        part, held = [*part, name], held + value.size
    yield part


def _share(first: list[Linearisation], second: list[Linearisation], names: list[str]) -> tuple[np.ndarray, ...]:
    """The share of some parameters in K(x1, x2) and in the diagonal blocks."""
    columns = [linearisation.jacobian(names) for linearisation in second]
    rows = iter(columns) if first is second else (linearisation.jacobian(names) for linearisation in first)
    full, block1 = [], []
    for row in rows:
        full.append([row @ column.T for column in columns])
        block1.append(row @ row.T)
    return np.array(full), np.array(block1), np.array([column @ column.T for column in columns])


def _listed(examples: Sequence[int]) -> str:
    return f"({', '.join(str(n) for n in examples)})"
