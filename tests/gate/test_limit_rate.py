"""A limit method: finite widths approach its kernel as 1/width: ReLU, erf and GELU, with and without bias."""

from __future__ import annotations

import numpy as np

from impls import Method
from reference import Case, Request
from tests.gate.checks import prepare, skip_unsupported
from tests.gate.limit_rate import rate_fault
from tests.gate.selection import Selection


def test_rate(limit_case: tuple[Method, Case], selection: Selection) -> None:
    """See `tests.gate.limit_rate`; other forms of the kernel are held to the averages by `test_kernel`."""
    method, case = limit_case
    request = Request(outputs="full", dtype="float64", device=selection.device)
    skip_unsupported(method, case, request)
    kernel = prepare(method, case, request)()
    for output in range(kernel.shape[-1]):
        fault = rate_fault(kernel[:, :, output, output].astype(np.float64), case.name)
        assert not fault, fault
