"""Spectra against closed forms, singular values of Jacobians, and SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra studies is not installed")

import scipy.linalg
import scipy.stats
from scipy.sparse.linalg import aslinearoperator

from reference import InputError
from studies import eigenvalues, parts
from studies.matrix import as_matrix, cosine
from studies.spectrum import Spectrum, spectrum, top
from tests.studies.agreement import agree, jacobian, kernel_of

JAC = jacobian()
KERNEL = kernel_of(JAC)


def singular_values(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.svd(matrix, compute_uv=False)


def with_values(*values: float) -> Spectrum:
    return Spectrum(np.array(values), np.eye(len(values)), len(values))


def test_the_full_kernel_has_the_squared_singular_values_of_the_jacobian_none_dropped() -> None:
    found = spectrum(KERNEL)
    agree(found.values, singular_values(JAC.reshape(18, 40)) ** 2)
    assert found.complete
    assert found.examples == 6


def test_eigenvectors_have_rows_in_the_order_of_examples_and_outputs() -> None:
    found = spectrum(KERNEL)
    for value, vector in zip(found.values, found.vectors.T, strict=True):
        by_output = vector.reshape(6, 3)
        agree(np.einsum("nmab,mb->na", KERNEL, by_output), value * by_output, scale=found.values[0])


def test_the_second_difference_has_its_closed_form() -> None:
    n = 12
    k = np.arange(n, 0, -1)
    found = spectrum(2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))
    agree(found.values, 2 - 2 * np.cos(np.pi * k / (n + 1)))
    due = np.sin(np.pi * np.outer(np.arange(1, n + 1), k) / (n + 1)) * math.sqrt(2 / (n + 1))
    agree(np.abs(np.sum(found.vectors * due, axis=0)), np.ones(n))
    agree(eigenvalues.condition_number(found), 1 / math.tan(np.pi / (2 * (n + 1))) ** 2)
    agree(eigenvalues.mean_trace(found), 2.0)
    agree(eigenvalues.stable_rank(found), (6 * n - 2) / found.values[0] ** 2)


@pytest.mark.parametrize("give", [lambda m: m, aslinearoperator, lambda m: (lambda v: m @ v)],
                         ids=["array", "operator", "function"])
def test_lanczos_gives_the_largest(give: Callable[[np.ndarray], Any]) -> None:
    matrix = as_matrix(kernel_of(jacobian(30, 2, 100)))
    whole = spectrum(matrix)
    found = top(give(matrix), 5, size=60)
    agree(found.values, whole.values[:5])
    agree(np.abs(np.sum(found.vectors * whole.vectors[:, :5], axis=0)), np.ones(5))
    assert not found.complete
    assert found.size == 60


def test_lanczos_draws_the_same_vector_from_a_seed() -> None:
    assert np.array_equal(top(KERNEL, 3, seed=4).vectors, top(KERNEL, 3, seed=4).vectors)


def test_numbers_against_numpy_and_scipy() -> None:
    matrix, found = as_matrix(KERNEL), spectrum(KERNEL)
    rows = JAC.reshape(18, 40)
    agree(eigenvalues.condition_number(found), np.linalg.cond(matrix))
    agree(eigenvalues.inverse_condition_number(found) * np.linalg.cond(matrix), 1.0)
    entropy = scipy.stats.entropy(found.values)
    agree(eigenvalues.von_neumann_entropy(found), entropy)
    agree(eigenvalues.von_neumann_entropy(found, normalised=True), scipy.stats.entropy(found.values, base=18))
    agree(eigenvalues.effective_rank(found), math.exp(entropy))
    agree(eigenvalues.diagonal_entropy(KERNEL), scipy.stats.entropy(np.diag(matrix)))
    agree(eigenvalues.stable_rank(found), (np.linalg.norm(matrix) / np.linalg.norm(matrix, 2)) ** 2)
    agree(eigenvalues.intrinsic_dimension(found), (np.linalg.norm(rows) / np.linalg.norm(rows, 2)) ** 2)
    agree(eigenvalues.mean_trace(found), np.sum(JAC**2) / 6)
    agree(eigenvalues.spacings(found), found.values[:-1] - found.values[1:])


def test_the_condition_number_of_inr_bep_drops_the_smallest_magnitude() -> None:
    found = eigenvalues.log_condition_number_inr_bep
    assert found(with_values(8.0, 2.0, 0.5)) == math.log(4 + 1e-5)
    assert found(with_values(8.0, 1e-9, -2.0)) == math.log(4 + 1e-5)
    assert found(with_values(8.0, 0.0, 0.0)) == math.inf


def test_entropy_is_that_of_the_matrix_logarithm() -> None:
    density = as_matrix(KERNEL) / np.trace(as_matrix(KERNEL))
    agree(eigenvalues.von_neumann_entropy(spectrum(KERNEL)), -np.trace(density @ scipy.linalg.logm(density)))


def test_ranks_of_a_kernel_with_fewer_parameters_than_rows() -> None:
    kernel = kernel_of(jacobian(p=5))
    found = spectrum(kernel)
    assert eigenvalues.numerical_rank(found) == np.linalg.matrix_rank(as_matrix(kernel), hermitian=True) == 5
    assert len(found.values) == 18
    assert eigenvalues.condition_number(found) > 1 / np.finfo(float).eps or found.values[-1] <= 0
    assert eigenvalues.numerical_rank(top(kernel, 8)) == 5


def test_the_dtype_of_the_kernel_bounds_its_rank() -> None:
    kernel = kernel_of(jacobian(p=5)).astype("float32")
    assert eigenvalues.numerical_rank(spectrum(kernel)) == np.linalg.matrix_rank(kernel.transpose(0, 2, 1, 3)
                                                                                 .reshape(18, 18), hermitian=True) == 5
    assert eigenvalues.numerical_rank(spectrum(kernel), threshold=0.5) == np.sum(
        spectrum(kernel).values > 0.5 * spectrum(kernel).values[0])


def test_equal_eigenvalues_are_the_largest_of_every_rank() -> None:
    found = with_values(2.0, 2.0, 2.0, 2.0)
    for number in (eigenvalues.effective_rank, eigenvalues.stable_rank, eigenvalues.intrinsic_dimension):
        agree(number(found), 4.0)
    agree(eigenvalues.von_neumann_entropy(found, normalised=True), 1.0)
    assert eigenvalues.mean_spacing_ratio(found) == 0


def test_a_singular_kernel_has_an_infinite_condition_and_rounding_below_zero_counts_as_zero() -> None:
    found = with_values(4.0, 4.0, -1e-15)
    assert eigenvalues.condition_number(found) == math.inf
    assert eigenvalues.inverse_condition_number(found) == 0
    agree(eigenvalues.effective_rank(found), 2.0)
    assert eigenvalues.numerical_rank(found) == 2


def test_spacings_tell_repelling_eigenvalues_from_independent_ones() -> None:
    rng = np.random.default_rng(0)
    gaussian = rng.standard_normal((300, 300))
    repelling = eigenvalues.mean_spacing_ratio(spectrum(gaussian + gaussian.T))
    independent = eigenvalues.mean_spacing_ratio(spectrum(np.diag(rng.uniform(size=300))))
    orthogonal, poisson = 0.5307, 2 * math.log(2) - 1
    assert abs(repelling - orthogonal) < abs(repelling - poisson) / 5
    assert abs(independent - poisson) < abs(independent - orthogonal) / 5


def test_the_cosine_kernel_is_that_of_unit_gradients() -> None:
    unit = JAC / np.linalg.norm(JAC, axis=2, keepdims=True)
    agree(cosine(KERNEL), as_matrix(kernel_of(unit)))
    agree(eigenvalues.summary(KERNEL)["cosine_von_neumann_entropy"],
          scipy.stats.entropy(singular_values(unit.reshape(18, 40)) ** 2))


def test_the_summary_holds_every_number() -> None:
    found = eigenvalues.summary(KERNEL)
    assert found["condition_number"] == eigenvalues.condition_number(spectrum(KERNEL))
    assert found["numerical_rank"] == 18
    agree(found["largest_eigenvalue"] * found["intrinsic_dimension"], np.sum(JAC**2))
    dead = eigenvalues.summary(np.diag([2.0, 0.0, 1.0]))
    assert [name for name, value in dead.items() if math.isnan(value)] == ["cosine_von_neumann_entropy"]


def test_spectra_by_parameter_and_their_shares() -> None:
    components = {"first": kernel_of(JAC[..., :10]), "second": kernel_of(JAC[..., 10:])}
    found = parts.by_parameter(components)
    agree(found["first"].values[:10], singular_values(JAC[..., :10].reshape(18, 10)) ** 2)
    agree(parts.trace_shares(components)["second"], np.sum(JAC[..., 10:] ** 2) / np.sum(JAC**2))
    agree(sum(parts.trace_shares(components).values()), 1.0)


def test_spectra_by_class_and_means_between_classes() -> None:
    labels = np.array([0, 1, 0, 1, 1, 0])
    found = parts.by_class(KERNEL, labels)
    agree(found[1].values, singular_values(JAC[[1, 3, 4]].reshape(9, 40)) ** 2)
    means = parts.class_means(KERNEL, labels)
    due = [[np.mean([[np.trace(KERNEL[n, m]) for m in range(6) if labels[m] == d] for n in range(6) if labels[n] == c])
            for d in (0, 1)] for c in (0, 1)]
    agree(means, due)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: spectrum(np.ones((3, 4))), r"\(3, 4\).*x2=None"),
    (lambda: spectrum(np.ones((3, 3, 2))), r"\(3, 3, 2\)"),
    (lambda: spectrum(np.ones((3, 3, 2, 1))), r"\(3, 3, 2, 1\)"),
    (lambda: spectrum(np.ones((0, 0))), "empty"),
    (lambda: spectrum(np.array([[1.0, np.nan], [np.nan, 1.0]])), r"2 entries .* \(0, 1\)"),
    (lambda: spectrum(np.arange(9.0).reshape(3, 3)), r"not symmetric: 2 at \(0, 2\) and 6 at \(2, 0\)"),
    (lambda: spectrum(np.ones((2, 2)) * 1j), "complex128"),
    (lambda: spectrum([[1.0], [1.0, 2.0]]), "kernel is no array of numbers"),
    (lambda: top(np.eye(3), 3), "1 to 2 of the 3"), (lambda: top(np.eye(3), 1.5), "k=1.5: Lanczos finds"),  # pyright: ignore[reportArgumentType]
    (lambda: top(np.zeros((3, 3)), 1), "the kernel is zero"),
    (lambda: top(aslinearoperator(np.full((3, 3), np.nan)), 1), "numbers that are not finite"),
    (lambda: top(aslinearoperator(np.eye(3) * 1j), 1), "the operator must hold real numbers"),
    (lambda: eigenvalues.log_condition_number_inr_bep(with_values(1.0)), "nothing is left"),
    (lambda: parts.by_class(KERNEL, [0, 0, 1, 1, np.nan, 1]), "labels has 1 that are NaN"),
    (lambda: parts.trace_shares({}), "no components"),
    (lambda: top(lambda v: v, 2), "size=M"),
    (lambda: top(lambda v: v[1:], 2, size=5), r"shape \(4,\)"),
    (lambda: top(lambda v: v * np.nan, 2, size=5), "not finite"),
    (lambda: top(aslinearoperator(np.ones((3, 4))), 2), r"square.*\(3, 4\)"),
    (lambda: top(np.diag(1 + np.arange(200) / 1e6), 5, most=1), "of the 5 largest"),
    (lambda: eigenvalues.condition_number(top(KERNEL, 3)), "all 18 eigenvalues.*3 largest"),
    (lambda: eigenvalues.numerical_rank(top(KERNEL, 3)), "15 are not in it"),
    (lambda: eigenvalues.effective_rank(with_values(1.0, -1.0)), "smallest eigenvalue is -1"),
    (lambda: eigenvalues.stable_rank(with_values(0.0, 0.0)), "largest eigenvalue is 0"),
    (lambda: eigenvalues.mean_spacing_ratio(with_values(2.0, 1.0)), "needs three eigenvalues, got 2"),
    (lambda: cosine(np.diag([1.0, 0.0])), "row 1"),
    (lambda: parts.by_class(KERNEL, [0, 1]), r"\(6,\).*\(2,\)"),
    (lambda: parts.trace_shares({"w": np.zeros((2, 2))}), "zero"),
])
def test_bad_input_names_the_value_and_the_remedy(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
