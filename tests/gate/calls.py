"""Kernels as they were given, and whether they stay what they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from impls import Array, Method
from impls.frameworks.arrays import to_numpy
from reference import Case, Expected, Request, check_form, compare, normalised, tolerance
from tests.gate.checks import ends_no_test
from tests.gate.subject import tape


def given(method: Method, case: Case, request: Request) -> Callable[[], Array]:
    """`method.prepare` on the very arrays of the case; its callable gives the framework's own array."""
    with ends_no_test():
        compute = method.prepare(case, request)

    def call() -> Array:
        with ends_no_test():
            return compute()

    return call


@dataclass
class Kept:
    """Results of one method, each with a copy of what it was when it was given.

    Of methods that are not exact, a kernel is held against an earlier one of the same case and request.
    """

    method: Method
    results: list[tuple[str, Array, np.ndarray]] = field(default_factory=list)
    truths: dict[int, tuple[Case, Expected]] = field(default_factory=dict)

    def hold(self, what: str, result: Array, case: Case, request: Request, due: np.ndarray | None = None) -> np.ndarray:
        """Raises `AssertionError` where the result is not the kernel of this case."""
        kernel = to_numpy(result)
        reason = self.fault(kernel, case, request, due)
        assert not reason, f"{what}: {reason}"
        self.results.append((what, result, np.array(kernel)))
        return self.results[-1][2]

    def fault(self, kernel: np.ndarray, case: Case, request: Request, due: np.ndarray | None = None) -> str:
        truth = self._truth(case)
        if due is None and self.method.kind == "exact":
            return compare(kernel, truth, outputs=request.outputs, dtype=request.dtype, symmetric=case.symmetric).reason
        form = check_form(kernel, truth, outputs=request.outputs, dtype=request.dtype)
        if form is not None or due is None:
            return "" if form is None else form.reason
        error = float(normalised(kernel.astype(np.float64) - due, truth.scale(request.outputs)).max())
        limit = tolerance(request.dtype)
        return "" if error <= limit else f"error {error:.3g} > {limit:.3g} against what the method gave before"

    def _truth(self, case: Case) -> Expected:
        if id(case) not in self.truths:
            self.truths[id(case)] = case, tape(case)  # the case is kept, so that no other one has its id
        return self.truths[id(case)][1]

    def hold_still(self) -> None:
        """Raises `AssertionError` where a kernel that was given has changed since."""
        for what, result, copy in self.results:
            assert np.array_equal(to_numpy(result), copy), f"{what}: the kernel was overwritten by a later call"


def spoil(result: Any) -> bool:
    """Overwrite an array that can be written, as its owner may; whether it could be."""
    if isinstance(result, np.ndarray):
        if not result.flags.writeable:
            return False
        result[...] = -7
        return True
    if hasattr(result, "fill_"):
        result.detach().fill_(-7)
        return True
    return False
