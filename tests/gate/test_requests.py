"""What the other tests ask for in one way only, asked for in the others, on one case for each method.

Blocks of all sizes with each kind of outputs and dtype, other parameters likewise, as many examples in x2 as in x1,
some of them large, in another order in memory, examples that repeat, units that are exactly 0, more parameters, many
outputs, and the arrays of one network in another.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest

from impls import Method, unsupported
from impls.frameworks.arrays import to_numpy
from reference import (
    MLP,
    Case,
    Layered,
    Request,
    check_form,
    compare,
    normalised,
    random_case,
    round_to_float32,
    seed_of,
    tolerance,
)
from reference.case import DType, Outputs
from reference.layers import Dense, FourierFeatures
from tests.gate.checks import cases_for, in_fortran_order, moved, prepare, skip_unsupported
from tests.gate.limit import compare_limit
from tests.gate.selection import Selection
from tests.gate.test_independence import plain_request, tape_value

N_MANY = 35
"""Examples in x1 and in x2: more than in any stored case, and than a block of 32, and a multiple of no power of 2."""

MORE = MLP((140, 120, 33), "tanh")
"""16,800 parameters in the first layer, and 33 outputs: beyond blocks of 2¹⁴ and of 32."""

MANY_OUTPUTS = MLP((3, 4, 131), "erf", parameterization="ntk")
"""More than a block of 128, and a prime number. Methods of every kind can take it."""

REPEATED, FIRST_OF_THEM, REORDERED = [0, 1, 0], [0, 1, 0], [1, 2, 0]
"""Of two examples; and of those three, the first that is the same, and another order."""

LARGE = 16.0
"""Factor of every third example: no activation of a stored case is beyond 6, where ReLU6 would be told from ReLU."""

# stax.Relu is max(x, 0), whose derivative at 0 JAX takes as 1/2. Mathematics does not say; every other method has 0.
HALF_AT_0 = tuple(f"neural_tangents.{name}" for name in (
    "jacobian_contraction", "ntk_vector_products", "structured_derivatives", "auto"))

SATURATING = 256.0
"""Factor of every third example in `with_same_parameters`: exp of some unit's input is beyond the largest float32."""

# Each kind of outputs and dtype, with x2 = x1 and without: once in blocks of one example, once of two, a smaller last
# one or not; and once with a block that is larger than x1 and x2.
REQUESTS = [(outputs, dtype, 1 + (i + j + symmetric) % 2, symmetric)
            for (i, outputs), (j, dtype), symmetric in product(
                enumerate(get_args(Outputs)), enumerate(get_args(DType)), (False, True))]
REQUESTS.append(("diagonal", "float64", 1000, False))


@pytest.mark.parametrize(("outputs", "dtype", "batch_size", "symmetric"), REQUESTS)
def test_blocks_then_other_parameters(method: Method, outputs: Outputs, dtype: DType, batch_size: int, symmetric: bool,
                                      selection: Selection) -> None:
    """The values of no blocks; and after them, those of another network of the same shapes."""
    request = replace(plain_request(method, selection), outputs=outputs, dtype=dtype, batch_size=batch_size)
    case = some_case(method, request)
    case = case.with_symmetry() if symmetric else case
    for network, what in ((case, "a network"), (moved(case), "another network after it")):
        own = None if method.kind == "exact" else prepare(method, network, replace(request, batch_size=None))()
        reason = fault(own, prepare(method, network, request)(), network, request)
        assert not reason, f"{what}, batch_size={batch_size}: {reason}"


def test_as_many_examples_in_x2(method: Method, selection: Selection) -> None:
    """x2 of the shape of x1 is not x1. Where there is no exact truth, K(x1, x2)[n, m, a, b] = K(x2, x1)[m, n, b, a]."""
    request = plain_request(method, selection)
    case = in_fortran_order(with_many_examples(some_case(method, request), N_MANY))
    own = None
    if method.kind != "exact":
        assert case.x2 is not None
        swapped = replace(case, x1=case.x2, x2=case.x1)
        own = prepare(method, swapped, request)().transpose(1, 0, 3, 2)
    reason = fault(own, prepare(method, case, request)(), case, request)
    assert not reason, f"{N_MANY} examples in x1, as many in x2: {reason}"


def test_repeated_examples(method: Method, selection: Selection) -> None:
    """In x1; and x2 that is given and equal to x1, which is no x2 = x1, or holds its examples in another order.

    Where there is no exact truth, the same entries are due for the same pairs of examples.
    """
    request = plain_request(method, selection)
    case = some_case(method, request)
    same = replace(case, x1=case.x1[REPEATED], x2=None)
    kernel = prepare(method, same, request)()
    exact = method.kind == "exact"
    reason = fault(None if exact else kernel, kernel, same, request)
    if not reason and not exact:
        reason = fault(kernel[:, FIRST_OF_THEM][FIRST_OF_THEM], kernel, same, request)
    assert not reason, f"an example of x1 repeats: {reason}"
    for x2, due, what in ((same.x1.copy(), kernel, "x2 is given, and equal to x1"),
                          (same.x1[REORDERED], kernel[:, REORDERED], "x2 holds the examples of x1 in another order")):
        asked = replace(same, x2=x2)
        reason = fault(None if exact else due, prepare(method, asked, request)(), asked, request)
        assert not reason, f"{what}: {reason}"


@pytest.mark.parametrize("outputs", get_args(Outputs))
def test_many_outputs(method: Method, outputs: Outputs, selection: Selection) -> None:
    """For random methods, as in `test_as_many_examples_in_x2`."""
    request, case = replace(plain_request(method, selection), outputs=outputs), random_case(
        "many outputs", MANY_OUTPUTS, 2, 1)
    skip_unsupported(method, case, request)
    kernel = prepare(method, case, request)()
    if method.kind == "limit":
        comparison = compare_limit(kernel, case, request)
        assert comparison.ok, f"{MANY_OUTPUTS.n_outputs} outputs: {comparison.reason}"
        return
    own = None
    if method.kind == "stochastic":
        assert case.x2 is not None
        own = prepare(method, replace(case, x1=case.x2, x2=case.x1), request)().swapaxes(0, 1)
        own = own.swapaxes(2, 3) if outputs == "full" else own
    reason = fault(own, kernel, case, request)
    assert not reason, f"{MANY_OUTPUTS.n_outputs} outputs: {reason}"


def test_relu_at_0(exact_method: Method, selection: Selection) -> None:
    """The derivative of ReLU at 0 is taken as 0 (reference/DEFINITION.md)."""
    request, case = plain_request(exact_method, selection), with_units_at_0()
    skip_unsupported(exact_method, case, request)
    reason = fault(None, prepare(exact_method, case, request)(), case, request)
    if exact_method.name in HALF_AT_0:
        assert reason, f"{exact_method.name} takes the derivative of ReLU at 0 as 0 by now: strike it from HALF_AT_0"
        pytest.xfail("stax.Relu has the derivative 1/2 at 0")
    assert not reason, f"units of exactly 0: {reason}"


def test_more_parameters_and_outputs(exact_method: Method, selection: Selection) -> None:
    """Than in any stored case, and than in the pieces in which a method may add up or differentiate."""
    request = plain_request(exact_method, selection)
    case = random_case("more parameters and outputs", MORE, 2, 1)
    skip_unsupported(exact_method, case, request)
    reason = fault(None, prepare(exact_method, case, request)(), case, request)
    assert not reason, f"widths {MORE.widths}: {reason}"


@pytest.mark.parametrize("what", ["activation", "constants"])
def test_same_parameters_in_another_network(exact_method: Method, what: str, selection: Selection) -> None:
    """After one network, another with the same parameters and inputs has its own kernel."""
    request = replace(plain_request(exact_method, selection), dtype="float32")
    for case in with_same_parameters(what):
        skip_unsupported(exact_method, case, request)
        reason = fault(None, prepare(exact_method, case, request)(), case, request)
        assert not reason, f"{case.network}: {reason}"


def test_x2_changed_in_place(exact_method: Method, selection: Selection) -> None:
    """The same arrays may hold other values when a kernel is prepared anew."""
    request, case = plain_request(exact_method, selection), random_case("x2 in place", MLP((3, 4, 2), "tanh"), 2, 1)
    assert case.x2 is not None
    skip_unsupported(exact_method, case, request)
    for what in ("at first", "after it"):
        reason = fault(None, to_numpy(exact_method.prepare(case, request)()), case, request)
        assert not reason, f"x2 is changed in place, {what}: {reason}"
        case.x2[...] *= -1


def with_same_parameters(what: str) -> tuple[Case, Case]:
    """Two networks, whose activations saturate; or two values of what is not trained."""
    if what == "constants":
        case = random_case(what, Layered((2,), (FourierFeatures("features", 3, std=2.0), Dense("head", 3))), 2, 1)
        return case, replace(case, constants={name: array / 2 for name, array in case.constants.items()})
    case = random_case(what, MLP((3, 5, 4, 3), "gelu"), 4, 1)
    case.x1[::3] *= SATURATING
    return case, replace(case, network=MLP((3, 5, 4, 3), "tanh"))


def with_units_at_0() -> Case:
    """An example of zeros, and biases of 0 for some units of the first layer."""
    case = random_case("units at 0", MLP((3, 5, 3), "relu"), 3, 2)
    bias, x1 = case.params["dense0.bias"].copy(), case.x1.copy()
    bias[:3] = 0
    x1[1] = 0
    return replace(case, params={**case.params, "dense0.bias": bias}, x1=x1)


def some_case(method: Method, request: Request) -> Case:
    """The first case with several examples in x1, and in x2, that the method supports."""
    for case in cases_for(method.kind):
        if case.x2 is not None and min(len(case.x1), len(case.x2)) > 1 and case.network.n_outputs != 1 \
                and case.name != "linear" and unsupported(method, case, request) is None:
            return case
    pytest.skip(f"{method.name} supports no case with batch_size={request.batch_size}")


def with_many_examples(case: Case, n: int) -> Case:
    rng = np.random.default_rng(seed_of(f"many examples of {case.name}"))
    x1, x2 = (round_to_float32(rng.standard_normal((n, *case.x1.shape[1:]))) for _ in range(2))
    x1[::3] *= LARGE
    x2[::3] *= LARGE
    return replace(case, x1=x1, x2=x2)


def fault(own: np.ndarray | None, kernel: np.ndarray, case: Case, request: Request) -> str:
    """Why `kernel` is not the truth, or not `own`, what the method computes in another way; held to as exact ones."""
    truth = tape_value(case)
    if own is None:
        return compare(kernel, truth, outputs=request.outputs, dtype=request.dtype, symmetric=case.symmetric).reason
    for form in (check_form(some, truth, outputs=request.outputs, dtype=request.dtype) for some in (own, kernel)):
        if form is not None:
            return form.reason
    error = normalised(kernel.astype(np.float64) - own, truth.scale(request.outputs)).max()
    limit = tolerance(request.dtype)
    return f"error {error:.3g} > {limit:.3g}" if error > limit else ""
