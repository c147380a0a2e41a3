"""A random method beyond the seeds, numbers of projections and dtypes of `tests.gate.test_stochastic`.

Every bound here is at six standard errors of independent Gaussian projections or beyond: a right method fails all of
these tests together with probability below 1e-6. An estimate that is closer than that is right.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from impls import Method
from reference import MLP, Case, Request, normalised, tolerance
from reference.tolerances import LARGEST_SPREAD
from tests.gate.checks import prepare, skip_unsupported
from tests.gate.drawn import Draws, told
from tests.gate.selection import Selection
from tests.gate.stochastic import Estimate, Shares, full_request, judge_bias
from tests.gate.subject import tape
from tests.gate.test_spread import as_matrix
from tests.gate.test_stochastic import _first_seed

STANDARD_ERRORS = 6.0

REMAINDERS = (15, 19, 31, 63, 127, 199, 255, 511, 1023, 1999)
"""Projections: twice a round number or a power of two, less one, so that nearly half are in the last block."""

FEWEST_BY_DEFAULT = 32
"""With fewer, an estimate is off by a quarter."""

N_SEEDS = 8
ROWS = 27


def test_every_seed_counts(stochastic_method: Method, selection: Selection) -> None:
    """Seed 0 is a seed; those that differ by 2¹⁶, 2³¹ or 2³² are others."""
    draw = Draws(selection.gate_seed, "seeds")
    case, low = drawn_case(draw), draw.between(2, 2**15)
    for dtype in ("float64", "float32"):
        request = Request(dtype=dtype, device=selection.device, options={"proj_dim": 40})
        skip_unsupported(stochastic_method, case, request)
        seeds = (0, 1, low, low + 2**16, low + 2**31, low + 2**32)
        kernels = {seed: prepare(stochastic_method, case, replace(request, seed=seed))() for seed in seeds}
        with told(f"seeds in {dtype}", selection.gate_seed):
            again = prepare(stochastic_method, case, replace(request, seed=0))()
            assert np.array_equal(kernels[0], again), "seed 0 gave another kernel the second time"
            for one, other in combinations(seeds, 2):  # of more parameters than projections: no estimate is exact
                assert not np.array_equal(kernels[one], kernels[other]), f"seeds {one} and {other} gave one estimate"


def test_remainders(stochastic_method: Method, selection: Selection) -> None:
    """Numbers of projections that no block divides: no projection is lost, and none is counted that was not made."""
    draw = Draws(selection.gate_seed, f"remainders of {stochastic_method.name}")
    case = drawn_case(draw)
    numbers = REMAINDERS if selection.alone else draw.rng.choice(REMAINDERS, 2, replace=False).tolist()
    for proj_dim in (*numbers, draw.between(70, 700)):
        request = replace(full_request(selection.device, proj_dim), seed=draw.between(1, 2**20))
        skip_unsupported(stochastic_method, case, request)
        with told(f"{proj_dim} projections", selection.gate_seed):
            white = whitened(prepare(stochastic_method, case, request)(), case)
            assert_unbiased(white, proj_dim)
            spread = np.square(white - np.eye(ROWS)).sum() * proj_dim / (ROWS * (ROWS + 1))
            assert proj_dim < 100 or spread <= LARGEST_SPREAD, (
                f"the square of the deviation is {spread:.3g} times what they give: some are lost")


def test_options_count(stochastic_method: Method, selection: Selection) -> None:
    """Each number of projections gives another estimate, fewer than outputs and more than parameters too; and an option
    that is taken, by a method that refuses those it does not know, changes something."""
    draw = Draws(selection.gate_seed, f"options of {stochastic_method.name}")
    case, many = drawn_case(draw), draw.between(400, 500)
    skip_unsupported(stochastic_method, case, full_request(selection.device))
    with told("options", selection.gate_seed):
        estimates = {n: estimate(stochastic_method, case, selection, proj_dim=n)
                     for n in ((1, 2, 40, 65, many) if selection.alone else (2, many))}
        for one, other in combinations(estimates, 2):
            assert not np.array_equal(estimates[one], estimates[other]), (
                f"{one} and {other} projections gave one estimate: proj_dim is ignored")
        assert_unbiased(whitened(estimates[many], case), many)
        if selection.alone:
            assert_known_options_count(stochastic_method, case, selection)


def assert_known_options_count(method: Method, case: Case, selection: Selection) -> None:
    """Of methods that take any option nothing is asked: that is told at the end (`test_unknown_option`)."""
    found = []
    for options in ({"no_such_option": 1}, {"distribution": "gaussian"}, {"distribution": "rademacher"}):
        try:
            found.append(estimate(method, case, selection, proj_dim=40, **options))
        except Exception:
            found.append(None)
    unknown, gaussian, signs = found
    if unknown is None and gaussian is not None and signs is not None:
        assert not np.array_equal(gaussian, signs), "the option `distribution` is taken, and changes nothing"


def estimate(method: Method, case: Case, selection: Selection, **options: object) -> np.ndarray:
    return prepare(method, case, replace(full_request(selection.device), seed=1, options=options))()


def test_default_number_of_projections(stochastic_method: Method, selection: Selection) -> None:
    """Without options a method takes a number of its own, enough to say something, and divides by it."""
    draw = Draws(selection.gate_seed, "default number")
    case, request = drawn_case(draw), Request(dtype="float64", device=selection.device)
    skip_unsupported(stochastic_method, case, request)
    estimates = [whitened(prepare(stochastic_method, case, replace(request, seed=seed))(), case)
                 for seed in range(1, 1 + (N_SEEDS if selection.alone else 2))]
    with told("no options", selection.gate_seed):
        mean_square = np.mean([np.square(white - np.eye(ROWS)).sum() for white in estimates])
        as_many = ROWS * (ROWS + 1) / max(mean_square, 1e-20)
        assert as_many >= FEWEST_BY_DEFAULT, (
            f"the estimate is as far off as one of {as_many:.3g} projections: they are too few, or not divided by")
        assert_unbiased(np.mean(estimates, axis=0), int(as_many * len(estimates)))


def test_unbiased_in_float32(stochastic_few: tuple[Method, Case], selection: Selection) -> None:
    """As `test_unbiased`; where many methods are tried, on fully connected networks alone."""
    method, case = stochastic_few
    if not selection.alone and not isinstance(case.network, MLP):
        pytest.skip("asked of one network for each method, where there are many")
    estimate = _in_float32(method, selection)
    shares = Shares.of(list(selection.methods.values()))
    fewer_alarms = replace(shares, bias=1000 * shares.bias)
    comparison = judge_bias(estimate, case.name, fewer_alarms, _first_seed(method, case, "bias in float32"))
    assert comparison.ok, f"in float32: {comparison.reason}"


def _in_float32(method: Method, selection: Selection) -> Estimate:
    def estimate(case: Case, proj_dim: int, seed: int) -> np.ndarray:
        request = replace(full_request(selection.device, proj_dim), dtype="float32", seed=seed)
        return prepare(method, case, request)().astype(np.float64)

    return estimate


def test_many_examples_of_one_seed(stochastic_method: Method, selection: Selection) -> None:
    """Beyond 256, in x1 or in x2 alone, in blocks of 5: the same projections as for all of them together."""
    draw = Draws(selection.gate_seed, "many examples of one seed")
    n1, n2 = draw.between(257, 300), draw.between(2, 4)
    case = draw.case(draw.dense(4, draw.between(5, 9), 2), n1, n2)
    assert case.x2 is not None
    request = replace(full_request(selection.device), seed=draw.between(1, 2**20))
    skip_unsupported(stochastic_method, case, request)
    truth, kernel = tape(case), prepare(stochastic_method, case, request)()
    turned = prepare(stochastic_method, replace(case, x1=case.x2, x2=case.x1), replace(request, batch_size=5))()
    few = prepare(stochastic_method, replace(case, x1=case.x1[-3:]), request)()
    with told(f"N1 = {n1}, N2 = {n2}", selection.gate_seed):
        for what, other, due in (("x1 and x2 swapped, in blocks of 5", turned.transpose(1, 0, 3, 2), kernel),
                                 ("the last examples of x1 alone", few, kernel[-3:])):
            scale = truth.scale("full")[-len(due):]
            error = float(normalised(other - due, scale).max())
            assert error <= tolerance("float64"), f"{what}: error {error:.3g}"


def drawn_case(draw: Draws) -> Case:
    """Nine examples of three outputs, x2 = x1."""
    return draw.case(draw.dense(5, draw.between(9, 12), 3), ROWS // 3, None)


def whitened(kernel: np.ndarray, case: Case) -> np.ndarray:
    """K^(−½) K̂ K^(−½), which is 1 on average."""
    lengths, directions = np.linalg.eigh(as_matrix(tape(case).full))
    to_white = directions / np.sqrt(lengths)
    return to_white.T @ as_matrix(kernel) @ to_white


def assert_unbiased(white: np.ndarray, proj_dim: int) -> None:
    """Its trace over the rows is χ² with proj_dim·rows degrees of freedom, over proj_dim·rows."""
    mean, limit = float(np.trace(white)) / ROWS, STANDARD_ERRORS * np.sqrt(2 / (proj_dim * ROWS))
    assert abs(mean - 1) <= limit, f"the estimate is {mean:.4g} times the kernel, where 1 ± {limit:.2g} is due"
