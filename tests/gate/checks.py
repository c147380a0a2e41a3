"""The matrix of the gate, and how one of its cells is computed."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis.errors import UnsatisfiedAssumption

from impls import Method, unsupported
from impls.frameworks.arrays import to_numpy
from reference import Case, Layered, Request, cases, round_to_float32, seed_of
from reference.case import Device, DType, Outputs
from tests.gate.limit import limit_cases

GATE_PROJ_DIM = 8192
"""Random projections asked of a stochastic method. A kernel 1.1 times too large is then on average 0.1/√(2/8192) = 6.4
standard errors off on its diagonal, where about 6 are allowed, and further in its trace. As a symmetric check has
several such entries, it fails with probability above 0.9 (tests/reference/test_statistics.py); the gate has 96 of them.
Smaller biases are found by `test_unbiased`, which takes as many projections as that needs (reference/pooled.py)."""


@dataclass(frozen=True)
class Check:
    """One kernel that a method has to get right."""

    method: str
    case: Case
    dtype: DType
    outputs: Outputs

    @property
    def id(self) -> str:
        symmetric = "-symmetric" if self.case.symmetric else ""
        return f"{self.method}-{self.case.name}-{self.dtype}-{self.outputs}{symmetric}"

    def request(self, method: Method, device: Device) -> Request:
        """The request, with a seed of its own, and many projections where the method is stochastic."""
        options = {"proj_dim": GATE_PROJ_DIM} if method.kind == "stochastic" else {}
        return Request(outputs=self.outputs, dtype=self.dtype, device=device, seed=seed_of(self.id),
                       options=options)


@cache
def cases_for(kind: str) -> tuple[Case, ...]:
    """The stored cases, and for a limit method those made for it as well."""
    return tuple(cases()) + (limit_cases() if kind == "limit" else ())


# Of the networks of layers, these stand for the rest: constants, and integers as inputs.
LAYERED_PAIRS = ("residual_batch_norm", "transformer")


@cache
def cases_for_pairs(kind: str) -> tuple[Case, ...]:
    """The cases on which a method's values are held against each other: blocks, other parameters, seeds."""
    return tuple(case for case in cases_for(kind)
                 if not isinstance(case.network, Layered) or case.name in LAYERED_PAIRS)


Form = tuple[bool, DType, Outputs]
"""(whether x2 = x1, dtype, outputs)"""

ALL_FORMS: tuple[Form, ...] = tuple(product((False, True), get_args(DType), get_args(Outputs)))

# How a method treats outputs, dtypes and symmetry does not depend on what the layers are, and compiling takes nearly
# all of the gate's time: on networks of layers every value of each is checked, not every combination. Those with all
# outputs have both dtypes, and x2 = x1 as well as another x2; the others too.
LAYERED_FORMS: tuple[Form, ...] = (
    (False, "float64", "full"), (True, "float32", "full"), (True, "float64", "diagonal"), (False, "float32", "trace"))


@cache
def checks(method: str, kind: str) -> tuple[Check, ...]:
    """Every case × symmetric or not × dtype × outputs."""
    return tuple(Check(method, case.with_symmetry() if symmetric else case, dtype, outputs)
                 for case in cases_for(kind)
                 for symmetric, dtype, outputs in (LAYERED_FORMS if isinstance(case.network, Layered) else ALL_FORMS))


CHOOSERS = ("neural_tangents.auto",)
"""They compile three methods to compute with one of them, and each of the three is asked by its own name."""


def is_due(check: Check, method: Method, seed: int) -> bool:
    """Whether a run of many methods asks for it; one of a single method asks for all.

    Of a method in JAX, which compiles each form anew, each kind of outputs in each dtype is asked of every case, in one
    dtype with x2 = x1 and in the other without: in which, is drawn at each run, for each case. So a program that serves
    every kind of outputs is compiled twice. Of one that chooses among others, each kind of outputs is asked for in one
    dtype, and so it is of a random one in any framework, which further tests hold to more projections. On a network of
    layers, either the forms with all outputs are asked for, or the others.
    """
    if method.framework != "jax" and method.kind != "stochastic":
        return True
    drawn = np.random.default_rng([seed, seed_of(f"{check.method} {check.case.name}")])
    swapped, dtypes = drawn.integers(2, size=2)
    if isinstance(check.case.network, Layered):
        return (check.outputs == "full") == bool(swapped)
    i, j = get_args(Outputs).index(check.outputs), get_args(DType).index(check.dtype)
    if check.case.symmetric != bool((j + swapped) % 2):
        return False
    in_every_dtype = method.kind != "stochastic" and method.name not in CHOOSERS
    return in_every_dtype or j == (i // 2 + dtypes) % 2


def skip_unsupported(method: Method, case: Case, request: Request) -> None:
    """Skip the test, with the method's reason. A method that gives no reason has to compute."""
    if (reason := unsupported(method, case, request)) is not None:
        pytest.skip(reason)


END_A_TEST = (unittest.SkipTest, pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception, SystemExit,
              UnsatisfiedAssumption)
"""What pytest and hypothesis take for anything but a failure, or for the end of the run: not a method's to raise."""


@contextmanager
def ends_no_test() -> Iterator[None]:
    try:
        yield
    except END_A_TEST as error:
        # no AssertionError, which is expected of those methods that are known to be wrong
        raise RuntimeError(f"the method raised {type(error).__name__}: {error}; what it cannot do it says in "
                           "`unsupported`") from error


def prepare(method: Method, case: Case, request: Request) -> Callable[[], np.ndarray]:
    """As `method.prepare`, on a copy of the case, which the callable sees unchanged; it gives NumPy arrays.

    Each call has to compute anew, in memory of its own: a kernel that is kept and handed out again would be timed as if
    it had been computed.
    """
    own = copied(case)
    with ends_no_test():
        compute = method.prepare(own, request)
    earlier: list[Any] = []  # what is alive keeps its memory

    def checked() -> np.ndarray:
        with ends_no_test():
            given = compute()
        kernel = to_numpy(given)
        assert_unchanged(own, case)
        assert address(given) not in map(address, earlier), "a second call gave the memory of an earlier one's kernel"
        earlier.append(given)
        return kernel

    return checked


def address(array: Any) -> int:
    """Where its entries begin, for an array of NumPy, JAX or PyTorch."""
    for framework_own in ("data_ptr", "unsafe_buffer_pointer"):
        if hasattr(array, framework_own):
            return getattr(array, framework_own)()
    return array.__array_interface__["data"][0]


def copied(case: Case) -> Case:
    """With arrays of its own, in the same order in memory."""
    return with_arrays(case, lambda array: array.copy(order="K"))


def in_fortran_order(case: Case) -> Case:
    """The same case, as data that were transposed have it: the first axis varies first."""
    return with_arrays(case, np.asfortranarray)


def with_arrays(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> Case:
    """Parameters, constants and inputs, each changed."""
    def changed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: change(array) for name, array in arrays.items()}

    return replace(case, params=changed(case.params), constants=changed(case.constants), x1=change(case.x1),
                   x2=None if case.x2 is None else change(case.x2))


def assert_unchanged(case: Case, original: Case) -> None:
    arrays = {**case.params, **case.constants, "x1": case.x1, "x2": case.x2}
    originals = {**original.params, **original.constants, "x1": original.x1, "x2": original.x2}
    changed = [name for name, array in arrays.items() if not np.array_equal(array, originals[name])]
    assert not changed, f"the method changed its inputs: {', '.join(changed)}"


def moved(case: Case) -> Case:
    """The same network, name and shapes, with other parameters, constants, x1 and x2."""
    n_tokens = case.network.n_tokens

    def move(array: np.ndarray) -> np.ndarray:
        return round_to_float32(0.75 * array + 0.0625)

    def move_inputs(x: np.ndarray) -> np.ndarray:
        return move(x) if n_tokens is None else (x + 1) % n_tokens

    def move_all(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: move(array) for name, array in arrays.items()}

    return replace(case, params=move_all(case.params), constants=move_all(case.constants), x1=move_inputs(case.x1),
                   x2=None if case.x2 is None else move_inputs(case.x2))


def uneven_batch_size(case: Case) -> int:
    """The smallest batch size from 2 that leaves a smaller last block of x1 or x2; where there is none, 2."""
    lengths = [len(x) for x in (case.x1, case.x2) if x is not None]
    return next((size for size in range(2, max(lengths)) if any(n > size and n % size for n in lengths)), 2)
