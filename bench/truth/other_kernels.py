"""What kernels other than the NTK are held against: on some examples, by the reference alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import reference
from bench.cells.cases import CaseSource
from bench.records.record import CaseInfo, Send
from bench.truth.truth import N_RANDOM, N_SPREAD, Truth, info_of
from bench.truth.witnesses import rows_of
from reference import Case, Comparison, Described, InputError
from reference.conjugate import float64_conjugate
from reference.initialisations import compare_average, initialised

N_DRAWS = 256
"""Of the float64 tape, for an average over initialisations of a network that has no closed form at its width."""


def find_other_truth(send: Send, source: CaseSource, quantity: str, seed: int = 0) -> Truth:
    """As `bench.truth.truth.find_truth`, of another kernel."""
    case = source.build()
    info = info_of(source, case)
    send("truth", {"info": info})
    return other_truth(case, info, quantity, seed)


def other_truth(case: Case, info: CaseInfo, quantity: str, seed: int) -> Truth:
    """The truth of that kernel of a described network. Raises `InputError` for a model of the user's own."""
    if not isinstance(case.network, Described):
        raise InputError(f"--quantity {quantity} is measured on described networks; of your own impls.nngp and "
                         "impls.conjugate give it")
    rng = np.random.default_rng(seed)
    examples1 = rows_of(len(case.x1), N_SPREAD, N_RANDOM, rng)
    examples2 = examples1 if case.x2 is None else rows_of(len(case.x2), N_SPREAD, N_RANDOM, rng)
    some = replace(case, x1=case.x1[list(examples1)], x2=None if case.x2 is None else case.x2[list(examples2)])
    if quantity == "conjugate":
        proved = reference.has_proof(case)  # a small one
        return Truth(info, reference.conjugate(some) if proved else float64_conjugate(some), examples1, examples2)
    drawn = initialised(some, N_DRAWS, seed)
    has_limit = reference.has_limit(case.network, "nngp")
    limit = reference.infinite_width(some, "nngp") if has_limit else drawn.expected
    return Truth(info, limit, examples1, examples2, initialised=drawn,
                 is_relu=getattr(case.network, "activation", "") == "relu")


def compare_other(kernel: np.ndarray, truth: Truth, quantity: str, kind: str, n_samples: int | None, n_checks: int,
                  how: dict[str, Any]) -> Comparison:
    """The verdict that is due for the kind of the method; `how` is what `reference.compare` takes."""
    if quantity == "conjugate" or kind == "limit":
        of_limit = quantity == "nngp" and truth.is_relu
        return reference.compare(kernel, truth.expected, **how, kind="closed_form" if of_limit else "exact")
    assert truth.initialised is not None
    assert n_samples is not None
    malformed = reference.check_form(kernel, truth.expected, outputs=how["outputs"], dtype=how["dtype"],
                                     shape=how["shape"])
    if malformed is not None:
        return malformed
    part = kernel[np.ix_(truth.examples1 or (), truth.examples2 or ())]
    return compare_average(part, truth.initialised, outputs=how["outputs"], dtype=how["dtype"],
                           symmetric=how["symmetric"], n_samples=n_samples, n_checks=n_checks)
