"""Methods of other kernels than the NTK: their values, and what these must not depend on."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from impls import Method
from impls.registry import names, quantities, unsupported
from reference import (
    Case,
    Expected,
    InputError,
    Quantity,
    Request,
    case,
    compare,
    conjugate,
    infinite_width,
    normalised,
    round_to_float32,
    tolerance,
)
from reference.case import DType
from reference.initialisations import compare_average
from tests.gate.checks import moved, prepare, skip_unsupported
from tests.gate.drawn import Draws, told
from tests.gate.quantities import FEW, QuantityCheck, judge, quantity_checks, truth_of_average
from tests.gate.selection import Selection
from tests.gate.state import global_state
from tests.gate.test_state import changed

OfQuantity = tuple[Method, Quantity]

REMAINDERS, N_DRAWN = (31, 255), 1300
"""Draws: twice a power of two, less one; and how many of them in all, so that half of them are ten standard errors."""


def few_request(of: OfQuantity, selection: Selection) -> Request:
    options = {"n_samples": FEW} if of[0].kind == "stochastic" else {}
    return Request(dtype="float64", device=selection.device, seed=1, options=options, quantity=of[1])


def some_case(method: Method, request: Request) -> Case:
    """With a smaller last block, where the method can block it."""
    for of in map(case, ("mlp_relu", "mlp_erf_ntk_no_bias")):
        if unsupported(method, of, request) is None:
            return of
    pytest.skip(f"{method.name} supports neither")


@pytest.mark.many_projections
def test_quantity(quantity_check: QuantityCheck, selection: Selection) -> None:
    """The kernel is right, and so is that of a second call."""
    method = selection.method(quantity_check.method)
    assert method is not None
    request = quantity_check.request(selection.device)
    skip_unsupported(method, quantity_check.case, request)
    n_checks = len([each for each in quantity_checks(selection) if each.quantity == "nngp"])
    compute = prepare(method, quantity_check.case, request)
    kernel = compute()
    comparison = judge(kernel, quantity_check, method, n_checks)
    assert comparison.ok, comparison.reason
    np.testing.assert_array_equal(compute(), kernel, "a second call gave another kernel")


def test_blocks_of_examples(of_quantity: OfQuantity, selection: Selection) -> None:
    """Of two, and a smaller last one; and what is larger than x1 and x2."""
    method, request = of_quantity[0], few_request(of_quantity, selection)
    of = some_case(method, replace(request, batch_size=3))
    due = replace(scale_of(of_quantity, of), full=prepare(method, of, request)())
    for batch_size in (3, 1000):
        blocked = prepare(method, of, replace(request, batch_size=batch_size))()
        comparison = compare(blocked, due, outputs="full", dtype="float64", symmetric=False)
        assert comparison.ok, f"batch_size={batch_size}: {comparison.reason}"


def test_x1_and_x2_are_of_the_same_networks(of_quantity: OfQuantity, selection: Selection) -> None:
    """K(x1, x2) is the block of K of all examples, whatever part is asked for."""
    method, request = of_quantity[0], few_request(of_quantity, selection)
    of = some_case(method, request)
    assert of.x2 is not None
    joint = prepare(method, replace(of, x1=np.concatenate([of.x1, of.x2]), x2=None), request)()
    due = replace(scale_of(of_quantity, of), full=joint[:len(of.x1), len(of.x1):])
    for outputs in ("full", "trace"):
        found = prepare(method, of, replace(request, outputs=outputs))()
        comparison = compare(found, due, outputs=outputs, dtype="float64", symmetric=False)
        assert comparison.ok, f"outputs={outputs}: {comparison.reason}"


def test_a_quantity_of_other_parameters(of_quantity: OfQuantity, selection: Selection) -> None:
    """A conjugate kernel is that of the parameters; those of the case do not enter an average over initialisations."""
    method, request = of_quantity[0], few_request(of_quantity, selection)
    of = some_case(method, request)
    other = replace(moved(of), x1=of.x1, x2=of.x2)
    first, second = prepare(method, of, request)(), prepare(method, other, request)()
    if of_quantity[1] == "nngp":
        np.testing.assert_array_equal(first, second, "the parameters of the case enter")
        return
    comparison = compare(second, conjugate(other), outputs="full", dtype="float64", symmetric=False)
    assert comparison.ok, f"a second network, after a first: {comparison.reason}"


def test_the_same_examples_in_another_order(of_quantity: OfQuantity, selection: Selection) -> None:
    """Arrays of the same shapes, sums and norms as before, and the rows and columns of the kernel in that order; and
    once again as they were."""
    method, request = of_quantity[0], few_request(of_quantity, selection)
    of = some_case(method, request)
    assert of.x2 is not None
    first, order = prepare(method, of, request)(), np.roll(np.arange(len(of.x1)), 1)
    for what, x1, x2, due in (("x1", of.x1[order], of.x2, first[order]), ("x2", of.x1, of.x2[::-1], first[:, ::-1]),
                              ("neither", of.x1, of.x2, first)):
        changed_order = replace(of, x1=x1.copy(), x2=x2.copy())
        found = prepare(method, changed_order, request)()
        comparison = compare(found, replace(scale_of(of_quantity, changed_order), full=due), outputs="full",
                             dtype="float64", symmetric=False)
        assert comparison.ok, f"{what} in another order: {comparison.reason}"


@pytest.mark.parametrize("dtype", get_args(DType))
def test_a_quantity_of_many_examples(of_quantity: OfQuantity, dtype: DType, selection: Selection) -> None:
    """More than 64, in blocks and not: the rows of the last of them are those of these alone."""
    method = of_quantity[0]
    draw = Draws(selection.gate_seed, f"many examples of {of_quantity[1]} in {dtype}")
    request = replace(few_request(of_quantity, selection), dtype=dtype, outputs=draw.one_of("diagonal", "trace"))
    of, n_many = some_case(method, replace(request, batch_size=7)), draw.between(65, 90)
    x1 = round_to_float32(draw.rng.standard_normal((n_many, *of.x1.shape[1:])))
    many, last = replace(of, x1=x1), replace(of, x1=x1[-3:])
    due = prepare(method, last, request)()
    with told(f"{n_many} examples", selection.gate_seed):
        for batch_size in (None, 7):
            rows = prepare(method, many, replace(request, batch_size=batch_size))()[-3:]
            error = normalised(rows.astype(np.float64) - due, scale_of(of_quantity, last).scale(request.outputs)).max()
            assert error <= tolerance(dtype), f"batch_size={batch_size}: the last rows are {error:.3g} off"


def scale_of(of_quantity: OfQuantity, of: Case) -> Expected:
    """The kernel whose lengths errors are measured by; an average over a few draws is near it, at best."""
    return conjugate(of) if of_quantity[1] == "conjugate" else infinite_width(of, "nngp")


@pytest.mark.parametrize("n_samples", REMAINDERS)
def test_no_draw_is_lost(of_quantity: OfQuantity, n_samples: int, selection: Selection) -> None:
    """Numbers that no block divides, nearly half of which are in the last one, on average over seeds."""
    method, request = of_quantity[0], few_request(of_quantity, selection)
    if method.kind != "stochastic":
        pytest.skip(f"{method.name} draws nothing")
    if method.framework == "jax" and n_samples == REMAINDERS[0]:
        pytest.skip("JAX compiles it anew for each of so many seeds")
    of = some_case(method, request)
    request = replace(request, options={"n_samples": n_samples})
    n_seeds = N_DRAWN // n_samples
    mean = np.mean([prepare(method, of, replace(request, seed=1000 + seed))() for seed in range(n_seeds)], axis=0)
    comparison = compare_average(mean, truth_of_average(of.name, of.symmetric), outputs="full", dtype="float64",
                                 symmetric=False, n_samples=n_seeds * n_samples, n_checks=len(REMAINDERS))
    assert comparison.ok, f"n_samples={n_samples}, {n_seeds} seeds: {comparison.reason}"


def test_the_seed_decides(of_quantity: OfQuantity, selection: Selection) -> None:
    """The same draws for the same seed, others for another one, the next as well as one beyond 32 bits."""
    method, request = of_quantity[0], few_request(of_quantity, selection)
    if method.kind != "stochastic":
        pytest.skip(f"{method.name} draws nothing")
    of = some_case(method, request)
    first, again, other, beyond = (prepare(method, of, replace(request, seed=seed))() for seed in (1, 1, 2, 2**32 + 1))
    np.testing.assert_array_equal(first, again, "the same seed gave another kernel")
    assert not np.array_equal(first, other), "another seed gave the very same estimate"
    assert not np.array_equal(first, beyond), "another seed gave the very same estimate"


def test_what_is_refused(of_quantity: OfQuantity, selection: Selection) -> None:
    """Other kernels, with a reason; options that it does not know; and draws of which there are too few."""
    method, request = of_quantity[0], few_request(of_quantity, selection)
    of = some_case(method, request)
    for quantity in get_args(Quantity):
        if quantity not in quantities(method):
            assert "asked for is" in (unsupported(method, of, replace(request, quantity=quantity)) or "")
    if method.name in names(None):
        with pytest.raises(InputError, match="no_such_option"):
            prepare(method, of, replace(request, options={"no_such_option": 1}))
    if method.kind == "stochastic":
        with pytest.raises(InputError, match="n_samples must be an integer of at least 2, got 1"):
            prepare(method, of, replace(request, options={"n_samples": 1}))()


def test_a_quantity_changes_no_global_state(of_quantity: OfQuantity, selection: Selection) -> None:
    """Of settings and random generators."""
    method, request = of_quantity[0], few_request(of_quantity, selection)
    importlib.import_module(method.framework)
    of = some_case(method, request)
    before = global_state()
    compute = prepare(method, of, request)
    assert changed(before) == [], "by prepare"
    compute()
    assert changed(before) == [], "by the call"
