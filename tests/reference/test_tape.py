"""The tape and the forward pass in float64, against the proofs and on their own."""

from __future__ import annotations

import numpy as np
import pytest

from reference import MLP, Case, InputError, case, cases, compare, expected, float64_expected, random_case
from reference.arithmetic import FLOAT64
from reference.tape import Tape, add, elementwise, gather, matmul, mean, reshape, scale
from reference.windows import window_indices


@pytest.mark.parametrize("shared", cases(), ids=lambda shared: shared.name)
@pytest.mark.parametrize("symmetric", [False, True], ids=["x1-x2", "symmetric"])
def test_float64_tape_agrees_with_the_proof(shared: Case, symmetric: bool) -> None:
    chosen = shared.with_symmetry() if symmetric else shared
    x2 = chosen.x1 if chosen.x2 is None else chosen.x2
    tape, proved = float64_expected(chosen, range(len(chosen.x1)), range(len(x2))), expected(chosen)
    assert compare(tape.full, proved, outputs="full", dtype="float64", symmetric=symmetric).ok
    blocks = zip((tape.block1, tape.block2), (proved.block1, proved.block2), strict=True)
    for ours, theirs in blocks:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())


def test_some_examples_are_the_rows_and_columns_of_all() -> None:
    shared = case("mlp_gelu")
    some, all_of_it = float64_expected(shared, [1], [3, 0]), float64_expected(shared, range(2), range(4))
    np.testing.assert_array_equal(some.full, all_of_it.full[np.ix_([1], [3, 0])])
    np.testing.assert_array_equal(some.block2, all_of_it.block2[[3, 0]])
    assert some.source == "float64 tape on examples (1) of x1 and (3, 0) of x2"


@pytest.mark.parametrize("examples", [[], [2], [-1]], ids=str)
def test_examples_that_are_not_there_are_refused(examples: list[int]) -> None:
    with pytest.raises(InputError, match="x1 of case 'mlp_gelu' has examples 0 to 1"):
        float64_expected(case("mlp_gelu"), examples, [0])


def test_relu_at_zero_has_slope_zero_in_float64() -> None:
    drawn = random_case("zero", MLP((2, 3, 1), bias=False), 1, None)
    flat = Case("zero", drawn.network, drawn.params, np.zeros((1, 2)))
    assert float64_expected(flat, [0], [0]).full.item() == 0.0


def test_a_leaf_used_twice_gets_the_sum() -> None:
    tape = Tape(FLOAT64)
    weight, unused = tape.leaf(np.array([[1.0, 2.0], [3.0, 4.0]])), tape.leaf(np.ones(3))
    output = matmul(weight, matmul(weight, tape.leaf(np.array([[5.0], [6.0]]))))
    gradient, nothing = tape.gradients(output, np.array([[1.0], [0.0]]), [weight, unused])
    # e₁ᵀ W W x: the outer use gives e₁ (W x)ᵀ, the inner one (Wᵀ e₁) xᵀ.
    np.testing.assert_array_equal(gradient, np.outer([1, 0], [17, 39]) + np.outer([1, 2], [5, 6]))
    np.testing.assert_array_equal(nothing, np.zeros(3))


def test_primitives_against_differences() -> None:
    rng = np.random.default_rng(0)
    start, cotangent = rng.standard_normal((2, 3, 4)), rng.standard_normal((1, 5))
    indices = np.array([[0, 7, 7, -1, 23], [1, 2, -1, 22, 0]])

    def run(values: np.ndarray) -> tuple[float, np.ndarray]:
        tape = Tape(FLOAT64)
        leaf = tape.leaf(values)
        picked = gather(scale(leaf, 3.0), indices)
        bent = elementwise(add(picked, mean(reshape(leaf, (24, 1)), 0)), np.sin, np.cos)
        output = mean(reshape(bent, (2, 1, 5)), 0)
        return float((output.value * cotangent).sum()), tape.gradients(output, cotangent, [leaf])[0]

    step, gradient = 1e-6, run(start)[1]
    for index in np.ndindex(start.shape):
        shift = np.zeros(start.shape)
        shift[index] = step
        slope = (run(start + shift)[0] - run(start - shift)[0]) / (2 * step)
        assert slope == pytest.approx(gradient[index], abs=1e-8)


def test_windows_of_a_padded_image() -> None:
    # Rows of the image 0 1 2 / 3 4 5; a 2×2 kernel at stride (1, 2), one row and one column of padding on both sides.
    windows = window_indices((1, 2, 3), (2, 2), (1, 2), (1, 1))
    assert windows.T.tolist() == [
        [-1, -1, -1, 0], [-1, -1, 1, 2],
        [-1, 0, -1, 3], [1, 2, 4, 5],
        [-1, 3, -1, -1], [4, 5, -1, -1],
    ]
