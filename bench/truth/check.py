"""Is the kernel that was timed right? The truth is computed once for a case; each cell is held against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import reference
from bench.cells.cases import CaseSource
from bench.records.record import Cell, Send
from bench.truth.conditioning import LARGEST_TOLERANCE
from bench.truth.other_kernels import compare_other
from bench.truth.truth import PARTLY_FLOAT32, Truth
from reference import Comparison
from reference.statistics import compare_stochastic


def build(send: Send, source: CaseSource) -> None:
    """Raise what building the case raises: `InputError` where a user's model cannot be had."""
    source.build()


def check(kernel: np.ndarray, truth: Truth, cell: Cell, kind: str, n_checks: int) -> dict[str, Any]:
    """The fields of a `Record` that say whether `kernel` is right; `n_checks` counts a run's stochastic cells."""
    how: dict[str, Any] = {
        "outputs": cell.outputs, "dtype": cell.dtype, "symmetric": truth.info.n2 is None,
        "examples1": truth.examples1, "examples2": truth.examples2, "shape": truth.shape(cell.outputs),
    }
    against = truth.expected.source
    if cell.quantity != "ntk":
        return _check_other(kernel, truth, cell, kind, n_checks, how)
    if kind == "exact":
        return _check_exact(kernel, truth, cell, how)
    if kind == "limit":
        return _check_limit(kernel, truth, how)
    drawn = compare_stochastic(kernel, truth.expected, proj_dim=cell.options["proj_dim"], n_checks=n_checks, **how)
    if drawn.error is not None:
        against += f"; {drawn.error:.1f} standard errors off at most, {drawn.tolerance:.1f} allowed"
    return _verdict(replace(drawn, error=_distance(kernel, truth, cell.outputs)), against) | {"tolerance": None}


def _check_other(kernel: np.ndarray, truth: Truth, cell: Cell, kind: str, n_checks: int,
                 how: dict[str, Any]) -> dict[str, Any]:
    compared = compare_other(kernel, truth, cell.quantity, kind, cell.options.get("n_samples"), n_checks, how)
    if kind != "stochastic":
        return _verdict(compared, truth.expected.source)
    assert truth.initialised is not None
    against = truth.initialised.expected.source
    if compared.error is not None:
        against += f"; {compared.error:.1f} standard errors off at most, {compared.tolerance:.1f} allowed"
    of_draws = replace(truth, expected=truth.initialised.expected)
    return _verdict(replace(compared, error=_distance(kernel, of_draws, cell.outputs)), against) | {"tolerance": None}


def _check_exact(kernel: np.ndarray, truth: Truth, cell: Cell, how: dict[str, Any]) -> dict[str, Any]:
    """Its form, some of its entries, and all of it along random vectors; undecided where the truth is not known."""
    found = truth.conditionings.get(how["dtype"])
    change = 0.0 if found is None else found.change
    malformed = reference.check_form(kernel, truth.expected, outputs=how["outputs"], dtype=how["dtype"],
                                     shape=how["shape"])
    doubted = _doubted(truth, how["dtype"])
    if malformed is None and doubted:
        compared = Comparison("undecided", None, reference.tolerance(how["dtype"]), doubted)
    else:
        compared = malformed or reference.compare(kernel, truth.expected, **how, change=change)
    projection = truth.projections.get(how["outputs"])
    if compared.ok and projection is not None:
        changed = 0.0 if found is None else found.projected[projection.outputs]
        fault = projection.fault(kernel, how["dtype"], changed)
        compared = replace(compared, status="wrong", reason=fault) if fault else compared
    remarks = [PARTLY_FLOAT32] if truth.float32_inside else []
    remarks += [found.remark] if found is not None and found.remark else []
    return _verdict(compared, truth.expected.source) | {
        "amplification": None if found is None or not np.isfinite(found.change) else found.amplification,
        "remark": "; ".join(remarks)}


def _doubted(truth: Truth, dtype: str) -> str:
    """Why no kernel of this case can be called right in that dtype, "" where one can."""
    found = truth.conditionings.get(dtype)  # pyright: ignore[reportArgumentType]
    if found is not None and not found.tolerance <= LARGEST_TOLERANCE:
        return (f"rounding to {dtype} alone changes this kernel by {found.change:.2g} of its scale, so that no value "
                f"of it is right or wrong; its first entry in float64 is {truth.expected.full.flat[0]:.9g}")
    limit = reference.tolerance(dtype) if found is None else found.tolerance  # pyright: ignore[reportArgumentType]
    return f"nobody can be believed: {truth.undecided}" if truth.undecided and truth.doubt > limit else ""


def _verdict(comparison: Comparison, against: str) -> dict[str, Any]:
    return {"status": comparison.status, "reason": comparison.reason, "error": comparison.error,
            "tolerance": comparison.tolerance, "checked_against": against}


def _check_limit(kernel: np.ndarray, truth: Truth, how: dict[str, Any]) -> dict[str, Any]:
    """Another object than the finite kernel: its form and structure are checked, and how far it is from that kernel."""
    outputs, dtype = how["outputs"], how["dtype"]
    against = (f"its own form and structure; the limit is another kernel, and error is its distance to the finite one: "
               f"{truth.expected.source}")
    malformed = reference.check_form(kernel, truth.expected, outputs=outputs, dtype=dtype, shape=how["shape"])
    if malformed is not None:
        return _verdict(malformed, against) | {"tolerance": None}
    fault = reference.structural_fault(kernel.astype(np.float64), outputs, dtype) if how["symmetric"] else ""
    return {"status": "wrong" if fault else "ok", "reason": fault, "error": _distance(kernel, truth, outputs),
            "checked_against": against}


def _distance(kernel: np.ndarray, truth: Truth, outputs: Any) -> float | None:
    if kernel.shape != truth.shape(outputs) or not np.isfinite(kernel).all():
        return None
    part = kernel
    if truth.examples1 is not None and truth.examples2 is not None:
        part = kernel[np.ix_(truth.examples1, truth.examples2)]
    deviation = part.astype(np.float64) - truth.expected.outputs(outputs)
    return float(reference.normalised(deviation, truth.expected.scale(outputs)).max())
