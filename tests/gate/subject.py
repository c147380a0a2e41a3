"""A method on one random network, with the kernels from which the laws follow."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from impls import Array, Method, unsupported
from impls.frameworks.arrays import to_numpy
from reference import (
    Case,
    Expected,
    Request,
    check_form,
    float64_expected,
    normalised,
    round_to_float32,
    tolerance,
)
from reference.case import Device
from tests.gate.checks import prepare
from tests.gate.limit import limit_tolerance
from tests.gate.random_networks import RandomNetwork
from tests.gate.test_independence import FEW_PROJECTIONS


class NotHeld(Exception):
    """The law is not asked here; the message says why."""


class Malformed(Exception):
    """The kernel that the laws start from has another type, dtype or shape, or is not finite."""


@dataclass
class Subject:
    """A method on one random network, with the kernels that several laws read."""

    method: Method
    random: RandomNetwork
    device: Device = "cpu"
    thorough: bool = True
    """Whether a law takes as many kernels as it may, and not as few as it can."""

    @cached_property
    def case(self) -> Case:
        return self.random.case()

    @cached_property
    def request(self) -> Request:
        options = FEW_PROJECTIONS if self.method.kind == "stochastic" else {}
        return Request(outputs="full", dtype="float64", device=self.device, seed=1, options=options)

    @cached_property
    def compute_whole(self) -> Callable[[], np.ndarray]:
        return prepare(self.method, self.case, self.request)

    @cached_property
    def whole(self) -> np.ndarray:
        """K(U), (N, N, O, O), of N = N1 + N2 examples. Raises `Malformed`."""
        kernel = self.compute_whole()
        if (malformed := check_form(kernel, self.truth, outputs="full", dtype="float64")) is not None:
            raise Malformed(malformed.reason)
        return kernel

    @cached_property
    def truth(self) -> Expected:
        return tape(self.case)

    @property
    def first(self) -> np.ndarray:
        return np.arange(self.random.n1)

    @property
    def second(self) -> np.ndarray:
        return np.arange(self.random.n1, self.random.n1 + self.random.n2)

    @cached_property
    def shuffled(self) -> np.ndarray:
        """All the examples in another order, none where it was."""
        return np.roll(np.arange(len(self.case.x1)), 1)

    def kernel(self, case: Case, **changes: Any) -> np.ndarray:
        """That of `case`, asked for with these changes. Raises `NotHeld` where the method does not support it."""
        request = replace(self.request, **changes)
        if (reason := unsupported(self.method, case, request)) is not None:
            raise NotHeld(reason)
        return prepare(self.method, case, request)()

    def components(self) -> tuple[dict[str, np.ndarray], list[str]]:
        """The share of each parameter in K(U), and the names that are due: the case's, or those of its framework."""
        method: Any = self.method
        if not hasattr(method, "kernel"):  # the method knows no functions, only cases
            return _arrays(method.components(self.case, self.request)), list(self.case.params)
        support = importlib.import_module(f"impls.networks.{method.framework}_case")
        f, params, x1, x2 = support.functional(self.case, self.request)
        return _arrays(method.components(f, params, x1, x2, self.request)), list(params)

    def fault(self, kernel: np.ndarray, due: Expected, **changes: Any) -> str:
        """Why `kernel` is not `due`, what follows from K(U); held to as exact kernels are."""
        request = replace(self.request, **changes)
        if (malformed := check_form(kernel, due, outputs=request.outputs, dtype=request.dtype)) is not None:
            return malformed.reason
        limit = tolerance(request.dtype, limit_tolerance(self.case) if self.method.kind == "limit" else "exact")
        errors = normalised(kernel.astype(np.float64) - due.outputs(request.outputs), due.scale(request.outputs))
        worst = tuple(int(i) for i in np.unravel_index(np.argmax(errors), errors.shape))
        return "" if errors[worst] <= limit else (
            f"error {errors[worst]:.3g} > {limit:.3g} at {worst}: {kernel[worst]:.9g} where "
            f"{due.outputs(request.outputs)[worst]:.9g} is due; {int((errors > limit).sum())} of {errors.size} "
            "entries are wrong")


def _arrays(shares: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: to_numpy(share) for name, share in shares.items()}


def part(full: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Expected:
    """Rows and columns of a kernel with x2 = x1."""
    return Expected(full[np.ix_(rows, columns)], full[rows, rows], full[columns, columns], "the method's own kernel")


def every(full: np.ndarray) -> Expected:
    return part(full, np.arange(len(full)), np.arange(len(full)))


def tape(case: Case) -> Expected:
    return float64_expected(case, range(len(case.x1)), range(len(case.x1 if case.x2 is None else case.x2)))


def rounding_error(case: Case, truth: Expected) -> float:
    """What a change of all parameters, constants and real inputs by up to 4 units in float32's last place does."""
    rng = np.random.default_rng(0)

    def move(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array
        return round_to_float32(array * (1 + rng.choice([-4, 4], array.shape) * np.finfo(np.float32).eps))

    def move_all(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: move(array) for name, array in arrays.items()}

    nearby = replace(case, params=move_all(case.params), constants=move_all(case.constants), x1=move(case.x1))
    return float(normalised(tape(nearby).full - truth.full, truth.scale("full")).max())
