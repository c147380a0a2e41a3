"""The one comparison: what it lets pass, what it fails, and what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

from reference import (
    MLP,
    Case,
    Comparison,
    Expected,
    case,
    cases,
    compare,
    expected,
    float64_expected,
    random_case,
    seed_of,
    tolerance,
)
from reference.case import DType, Outputs
from reference.structure import LARGEST_MATRIX, matrices, structural_fault


@pytest.fixture
def relu() -> Expected:
    return expected(case("mlp_relu"))


def held(kernel: Any, truth: Expected, outputs: Outputs = "full", dtype: DType = "float64", *, symmetric: bool = False,
         **subset: Any) -> Comparison:
    return compare(kernel, truth, outputs=outputs, dtype=dtype, symmetric=symmetric, **subset)


@pytest.mark.parametrize("symmetric", [False, True], ids=["x1-x2", "symmetric"])
@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("shared", cases(), ids=lambda shared: shared.name)
def test_ten_tolerances_fail_and_a_tenth_passes(shared: Case, outputs: Outputs, dtype: DType, symmetric: bool) -> None:
    truth = expected(shared.with_symmetry() if symmetric else shared)
    right, scale = truth.outputs(outputs), truth.scale(outputs)
    rng = np.random.default_rng(seed_of(f"{shared.name} {outputs} {dtype}"))
    for keeps_symmetry in (False, True) if symmetric else (False,):
        entry = tuple(int(rng.integers(size)) for size in right.shape)
        moved = np.zeros(right.shape)
        moved[entry] = rng.choice([-1.0, 1.0]) * tolerance(dtype) * scale[entry]
        if keeps_symmetry:
            n, m, *rest = entry
            moved[m, n, *reversed(rest)] = moved[entry]
        large = held((right + 10 * moved).astype(dtype), truth, outputs, dtype, symmetric=symmetric)
        small = held((right + 0.1 * moved).astype(dtype), truth, outputs, dtype, symmetric=symmetric)
        assert (large.status, small.status) == ("wrong", "ok"), (large, small)
        assert large.error == pytest.approx(10 * tolerance(dtype), rel=0.1)
        assert large.reason.startswith("error ")
        assert small.reason == ""
    assert held(right.astype(dtype), truth, outputs, dtype, symmetric=symmetric).ok


def test_caps_of_the_tolerances() -> None:
    assert tolerance("float64") <= 1e-12
    assert tolerance("float32") <= 1e-5


@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda kernel: kernel.tolist(), "a list, not a NumPy array"),
    (lambda kernel: kernel.astype(np.float32), "dtype float32, asked for was float64"),
    (lambda kernel: kernel.astype(np.int64), "dtype int64, asked for was float64"),
    (lambda kernel: kernel.astype(object), "dtype object, asked for was float64"),
    (lambda kernel: kernel.transpose(0, 2, 1, 3), r"shape \(4, 3, 2, 3\).*layout \(N1, O, N2, O\)"),
    (lambda kernel: kernel.transpose(2, 0, 3, 1), r"layout \(O, N1, O, N2\)"),
    (lambda kernel: kernel.transpose(1, 0, 3, 2), "x1 and x2 swapped"),
    (lambda kernel: kernel.transpose(0, 2, 1, 3).reshape(12, 6), "N1·O, N2·O"),
    (lambda kernel: kernel[:, :, :1, :1], "output 0 only"),
    (lambda kernel: np.einsum("nmaa->nma", kernel), "the diagonal"),
    (lambda kernel: kernel[:3], r"shape \(3, 2, 3, 3\), asked for was 'full' of shape \(4, 2, 3, 3\)$"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_form_is_wrong_and_named(relu: Expected, spoil: Callable[[np.ndarray], Any], reason: str) -> None:
    result = held(spoil(relu.full), relu)
    assert result.status == "wrong"
    assert result.error is None
    assert re.search(reason, result.reason), result.reason


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_entry_that_is_not_finite(relu: Expected, value: float) -> None:
    kernel = relu.full.copy()
    kernel[1, 0, 2, 2] = value
    result = held(kernel, relu)
    assert result.status == "nonfinite"
    assert "1 of 72 entries are not finite, the first at (1, 0, 2, 2)" in result.reason


@pytest.mark.parametrize(("outputs", "spoil", "reason"), [
    ("trace", lambda full: np.einsum("nmaa->nm", full) / 3, "the mean over outputs for the sum"),
    ("trace", lambda full: full.sum((2, 3)), "the sum over all pairs of outputs"),
    ("trace", lambda full: full[:, :, 0, 0], "output 0 only"),
    ("full", lambda full: full.swapaxes(2, 3), "the output axes transposed"),
    ("full", lambda full: full * 2.5, "off by the factor 2.5"),
    ("diagonal", lambda full: np.einsum("nmaa->nma", full) / 7, "off by the factor 0.142857"),
])
@pytest.mark.parametrize("dtype", get_args(DType))
def test_known_mistakes_are_named(outputs: Outputs, dtype: DType, spoil: Callable[[np.ndarray], np.ndarray],
                                  reason: str) -> None:
    deep = expected(case("mlp_gelu"))  # of two layers, K[n,m,a,b] is symmetric in a and b
    result = held(spoil(deep.full).astype(dtype), deep, outputs, dtype)
    assert result.status == "wrong"
    assert reason in result.reason


def test_mistakes_that_do_not_show_in_the_shape() -> None:
    square = random_case("square", MLP((4, 6, 3)), 3, 3)
    truth = float64_expected(square, range(3), range(3))
    for spoiled, reason in ((truth.full.transpose(0, 2, 1, 3), "layout (N1, O, N2, O)"),
                            (truth.full.transpose(1, 0, 3, 2), "x1 and x2 swapped")):
        assert reason in held(spoiled, truth).reason


def test_the_largest_deviation_is_named_with_its_place(relu: Expected) -> None:
    kernel = relu.full.copy()
    kernel[3, 1, 0, 2] += 1
    kernel[0, 0, 0, 0] += 1e-9
    reason = held(kernel, relu).reason
    assert "at (3, 1, 0, 2)" in reason
    assert "2 of 72 entries are wrong" in reason
    assert "looks like" not in reason


def test_an_asymmetry_within_the_error_is_still_noticed() -> None:
    truth = expected(case("mlp_relu").with_symmetry())
    tilt = 0.9 * tolerance("float64") * truth.scale("full")
    kernel = truth.full.copy()
    kernel[0, 1] += tilt[0, 1]
    kernel[1, 0] -= tilt[1, 0]
    result = held(kernel, truth, symmetric=True)
    assert result.status == "wrong"
    assert "not symmetric" in result.reason
    assert held(kernel, truth, symmetric=False).ok


class TestSomeExamples:
    """A whole kernel of which only some rows and columns have expected values."""

    large = random_case("some examples", MLP((3, 8, 2), "tanh"), 7, None)

    def held(self, kernel: np.ndarray) -> Comparison:
        truth = float64_expected(self.large, [0, 3], [6, 2])
        return held(kernel, truth, symmetric=True, examples1=[0, 3], examples2=[6, 2], shape=(7, 7, 2, 2))

    def whole(self) -> np.ndarray:
        return float64_expected(self.large, range(7), range(7)).full

    def test_right(self) -> None:
        assert self.held(self.whole()).ok

    def test_wrong_where_expected(self) -> None:
        kernel = self.whole()
        kernel[3, 6] += 1e-3
        assert "at (3, 6, " in self.held(kernel).reason

    def test_not_finite_elsewhere(self) -> None:
        kernel = self.whole()
        kernel[5, 5, 0, 0] = np.nan
        assert self.held(kernel).status == "nonfinite"

    def test_not_symmetric_elsewhere(self) -> None:
        kernel = self.whole()
        kernel[5, 4, 0, 1] += 1e-3
        assert "not symmetric" in self.held(kernel).reason

    def test_not_positive_semidefinite_elsewhere(self) -> None:
        kernel = self.whole()
        kernel[5, 5, 0, 0] *= 0.5
        assert "not positive semidefinite" in self.held(kernel).reason

    def test_negative_diagonal_elsewhere(self) -> None:
        kernel = self.whole()
        kernel[5, 5, 0, 0] *= -1
        assert "a diagonal entry is negative" in self.held(kernel).reason

    def test_a_shape_other_than_that_of_the_whole(self) -> None:
        assert "layout (N1, O, N2, O)" in self.held(self.whole().transpose(0, 2, 1, 3)).reason


def test_of_a_large_kernel_the_leading_part_has_to_be_positive() -> None:
    size = LARGEST_MATRIX + 1
    kernel = np.eye(size)
    assert structural_fault(kernel, "trace", "float64") == ""
    kernel[0, 1] = kernel[1, 0] = 2.0
    assert "not positive semidefinite" in structural_fault(kernel, "trace", "float64")


def test_matrices_of_a_kernel() -> None:
    full = expected(case("mlp_relu").with_symmetry()).full
    assert matrices(full, "full")[0][1 * 3 + 2, 0 * 3 + 1] == full[1, 0, 2, 1]
    assert [matrix.shape for matrix in matrices(np.einsum("nmaa->nma", full), "diagonal")] == [(4, 4)] * 3


def test_where_the_scale_is_zero_only_zero_is_right() -> None:
    dead = Expected(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), "by hand")
    assert held(np.zeros((1, 1, 1, 1)), dead, symmetric=True).ok
    assert held(np.full((1, 1, 1, 1), 1e-300), dead).error == np.inf
