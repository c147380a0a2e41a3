"""Every exact method beyond the sizes and shapes of the stored cases, against the tape in float64.

What is asked is drawn anew at each run (`tests.gate.drawn`). A method that is tried alone is asked for all that was
drawn; in a run of many each is asked for one case of a share of the dimensions, in a form or two: over the methods,
all.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tests.gate.drawn_networks
import tests.gate.drawn_values  # noqa: F401  (they fill DIMENSIONS)
from impls import Method, unsupported
from reference import Case, Request, compare
from tests.gate.checks import prepare
from tests.gate.drawn import DIMENSIONS, Asked, Draws, asked, told
from tests.gate.known_wrong import known_reason
from tests.gate.selection import Selection

SLOW = {(f"neural_tangents.{name}", "long_recurrences"): "it compiles for a quarter of an hour, step by step"
        for name in ("structured_derivatives", "auto")}

ONE_FORM = ("nngeometry.gram",)
"""A backward pass for each pair of outputs: in a run of many methods half a minute for each form."""


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_drawn(exact_method: Method, dimension: str, selection: Selection) -> None:
    reasons, seed = [], selection.gate_seed
    ran = False
    for what, case, request, truth in _due(exact_method, dimension, selection):
        reason = (SLOW.get((exact_method.name, dimension)) or unsupported(exact_method, case, request)
                  or known_reason(exact_method.name, case, selection.device))
        if reason is not None:
            reasons.append(reason)
            continue
        ran = True
        with told(f"{what}, {described(request)}", seed):
            fault = compare(prepare(exact_method, case, request)(), truth.truth, outputs=request.outputs,
                            dtype=request.dtype, symmetric=case.symmetric)
            assert fault.ok, fault.reason
    if not ran:
        pytest.skip(reasons[0])


def _due(method: Method, dimension: str, selection: Selection) -> Iterator[tuple[str, Case, Request, Asked]]:
    drawn = asked(dimension, selection.gate_seed)
    n_forms = 3 if method.framework == "jax" else None  # each is compiled anew
    if not selection.alone:
        able = [one for one in drawn if unsupported(method, one.case, one.requests[0]) is None] or drawn
        draws = Draws(selection.gate_seed, f"{method.name} {dimension}")
        drawn, n_forms = [draws.one_of(*able)], 1 if method.framework == "jax" or method.name in ONE_FORM else 2
    for one in drawn:
        for request in selection.on_device(one.requests[:n_forms]):
            yield one.what, one.case, request, one


def described(request: Request) -> str:
    blocks = "" if request.batch_size is None else f", batch_size={request.batch_size}"
    return f"{request.outputs} in {request.dtype}{blocks}"
