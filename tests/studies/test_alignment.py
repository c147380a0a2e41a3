"""Alignment against scikit-learn, centring matrices, features, and gradient flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra studies is not installed")

import scipy.linalg

from reference import InputError
from studies.alignment import energy, energy_curve, kernel_alignment, target_alignment
from studies.matrix import as_matrix
from studies.spectrum import spectrum, top
from tests.studies.agreement import agree, jacobian, kernel_of

JAC, OTHER = jacobian(), jacobian(seed=1)
KERNEL = kernel_of(JAC)
FLAT, FLAT_OTHER = JAC[:, 0] @ JAC[:, 0].T, OTHER[:, 0] @ OTHER[:, 0].T
Y = np.random.default_rng(2).standard_normal((6, 3))


def cosine_of(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.trace(first.T @ second) / np.sqrt(np.trace(first.T @ first) * np.trace(second.T @ second)))


def test_alignment_is_the_cosine_of_the_matrices() -> None:
    agree(kernel_alignment(FLAT, FLAT_OTHER), cosine_of(FLAT, FLAT_OTHER))
    agree(kernel_alignment(KERNEL, kernel_of(OTHER)), cosine_of(as_matrix(KERNEL), as_matrix(kernel_of(OTHER))))
    agree(kernel_alignment(KERNEL, 3 * KERNEL), 1.0)


def test_centred_alignment_is_that_of_scikit_learns_centred_kernels() -> None:
    centerer = pytest.importorskip("sklearn.preprocessing").KernelCenterer
    centred = [centerer().fit_transform(kernel) for kernel in (FLAT, FLAT_OTHER)]
    agree(kernel_alignment(FLAT, FLAT_OTHER, centred=True), cosine_of(*centred))


def test_centred_alignment_is_linear_cka_of_the_features() -> None:
    first, second = (jac[:, 0] - jac[:, 0].mean(0) for jac in (JAC, OTHER))
    due = np.linalg.norm(second.T @ first) ** 2 / (np.linalg.norm(first.T @ first) * np.linalg.norm(second.T @ second))
    agree(kernel_alignment(FLAT, FLAT_OTHER, centred=True), due)


def test_a_full_kernel_is_centred_over_examples_for_each_output() -> None:
    first, second = (as_matrix(kernel_of(jac - jac.mean(0))) for jac in (JAC, OTHER))
    agree(kernel_alignment(KERNEL, kernel_of(OTHER), centred=True), cosine_of(first, second))


@pytest.mark.parametrize("centred", [False, True])
def test_target_alignment_is_that_with_the_kernel_of_the_targets(centred: bool) -> None:
    agree(target_alignment(FLAT, Y, centred=centred), kernel_alignment(FLAT, Y @ Y.T, centred=centred))
    agree(target_alignment(FLAT, Y[:, 0], centred=centred), target_alignment(FLAT, Y[:, :1], centred=centred))
    full = np.einsum("na,mb->nmab", Y, Y)
    agree(target_alignment(KERNEL, Y, centred=centred), kernel_alignment(KERNEL, full, centred=centred))


def test_energy_of_an_eigenvector_lies_along_it() -> None:
    found = spectrum(KERNEL)
    agree(energy(found, found.vectors[:, 4].reshape(6, 3)), np.eye(18)[4])
    agree(energy_curve(found, Y)[-1], 1.0)
    agree(energy_curve(top(KERNEL, 4), Y), energy_curve(found, Y)[:4])
    assert (np.diff(energy_curve(found, Y)) >= 0).all()


def test_energy_is_what_gradient_flow_learns_at_each_rate() -> None:
    for kernel, y in ((KERNEL, Y.reshape(18, 1)), (FLAT, Y)):
        found, t = spectrum(kernel), 0.01
        residual = scipy.linalg.expm(-as_matrix(kernel) * t) @ y
        due = np.sum(residual**2) / np.sum(y**2)
        agree(np.sum(energy(found, Y) * np.exp(-2 * found.values * t)), due)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: kernel_alignment(FLAT, FLAT[:3, :3]), r"\(6, 6\) and \(3, 3\)"),
    (lambda: kernel_alignment(FLAT, np.zeros((6, 6))), "zeros"),
    (lambda: target_alignment(2.0, [1.0]), r"must have shape \(N, N\)"),
    (lambda: target_alignment(FLAT, np.ones(5)), r"\(5,\) beside a kernel of 6 rows"),
    (lambda: target_alignment(KERNEL, np.ones((3, 6))), r"\(3, 6\).*it must be \(6, 3\), one column"),
    (lambda: target_alignment(FLAT, np.ones(6), centred=True), "constant"),
    (lambda: energy(spectrum(FLAT), np.zeros(6)), "all zeros"),
    (lambda: energy(spectrum(FLAT), [1, 2, 3, np.inf, 4, 5]), r"y has 1 entries .* \(3,\)"),
])
def test_bad_input_names_the_value_and_the_remedy(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
