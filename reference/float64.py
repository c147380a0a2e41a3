"""The tape run in float64: the expected kernel on a few examples of a case that is too large for a proof."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference.arithmetic import FLOAT64
from reference.case import Case, InputError
from reference.expected import Expected
from reference.jacobian import Linearisation, linearise
from reference.networks import MLP, ConvNet


def float64_expected(case: Case, examples1: Sequence[int], examples2: Sequence[int]) -> Expected:
    """The kernel between examples `examples1` of x1 and `examples2` of x2 (of x1 where x2 is None).

    Holds two Jacobians of one parameter at a time: 2·O·(entries of the largest parameter)·8 bytes. Raises `InputError`
    for a network that the reference has no forward pass for, and for an example that is not there.
    """
    if not isinstance(case.network, MLP | ConvNet):
        kind = type(case.network).__name__
        raise InputError(f"the reference computes MLP and ConvNet, not {kind} (case {case.name!r})")
    x2 = case.x1 if case.x2 is None else case.x2
    first, second = _linearise(case, case.x1, examples1, "x1"), _linearise(case, x2, examples2, "x2")
    source = f"float64 tape on examples {_listed(examples1)} of x1 and {_listed(examples2)} of x2"
    names = list(case.params)
    block1, block2 = (np.array([_kernel([one], [one], names)[0, 0] for one in some]) for some in (first, second))
    return Expected(_kernel(first, second, names), block1, block2, source)


def _linearise(case: Case, x: np.ndarray, examples: Sequence[int], what: str) -> list[Linearisation]:
    assert isinstance(case.network, MLP | ConvNet)
    if not len(examples) or not all(0 <= n < len(x) for n in examples):
        raise InputError(f"{what} of case {case.name!r} has examples 0 to {len(x) - 1}, got {_listed(examples)}")
    params = {name: np.asarray(value, dtype=np.float64) for name, value in case.params.items()}
    return [linearise(case.network, FLOAT64, params, np.asarray(x[n], dtype=np.float64)) for n in examples]


def _kernel(first: list[Linearisation], second: list[Linearisation], names: list[str]) -> np.ndarray:
    """J1 J2ᵀ as (len(first), len(second), O, O), one parameter and one pair of examples after the other."""
    n_outputs = first[0].output.value.shape[0]
    total = np.zeros((len(first), len(second), n_outputs, n_outputs))
    for name in names:
        for n, one in enumerate(first):
            jacobian = one.jacobian([name])
            for m, other in enumerate(second):
                total[n, m] += jacobian @ (jacobian if other is one else other.jacobian([name])).T
    return total


def _listed(examples: Sequence[int]) -> str:
    return f"({', '.join(str(n) for n in examples)})"
