"""Frequencies of a kernel against the transform written out, and sums entry by entry."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra studies is not installed")

from reference import InputError
from studies.fourier import FLOOR, Weighting, diagonal_strength, fourier_summary, fourier_summary_inr_bep, log_magnitude
from studies.matrix import as_matrix
from tests.studies.agreement import agree, jacobian, kernel_of

KERNEL = kernel_of(jacobian())
N = 18


def by_hand() -> np.ndarray:
    """Entry (k, l) of the sum over rows and columns, frequencies from −M/2 on."""
    matrix, frequencies = as_matrix(KERNEL), np.arange(N) - N // 2
    waves = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(N)) / N)
    return np.log(np.abs(waves @ matrix @ waves.T) + FLOOR)


def test_the_image_is_the_transform_written_out() -> None:
    agree(log_magnitude(KERNEL), by_hand())


def test_a_single_wave_has_two_frequencies() -> None:
    n, k = 16, 3
    places = np.arange(n)
    image = log_magnitude(np.cos(2 * np.pi * k * np.subtract.outer(places, places) / n))
    due = np.full((n, n), np.log(FLOOR))
    for sign in (1, -1):
        due[n // 2 + sign * k, n // 2 - sign * k] = np.log(n**2 / 2 + FLOOR)
    assert np.abs(np.exp(image) - np.exp(due)).max() < FLOOR


def test_the_summary_is_of_the_entries_that_it_names() -> None:
    image, found = by_hand(), fourier_summary(KERNEL)
    off = [image[i, j] for i in range(N) for j in range(N) if i != j]
    far = [image[i, j] for i in range(N) for j in range(N) if min(i, N - 1 - i) < 4 and min(j, N - 1 - j) < 4]
    agree(found.mean, np.mean(image))
    agree(found.std, np.std(image))
    agree(found.diagonal_mean, np.mean([image[i, i] for i in range(N)]))
    agree(found.off_diagonal_mean, np.mean(off))
    agree(found.high_frequency, np.mean(far))


def test_the_variant_of_inr_bep_differs_in_two_figures() -> None:
    image, right, found = by_hand(), fourier_summary(KERNEL), fourier_summary_inr_bep(KERNEL)
    assert (found.mean, found.std, found.diagonal_mean) == (right.mean, right.std, right.diagonal_mean)
    agree(found.off_diagonal_mean, right.off_diagonal_mean * (N - 1) / N)
    agree(found.high_frequency, image[:4, :4].mean() + image[14:, 14:].mean())


@pytest.mark.parametrize(("weighting", "weight"), [
    ("lin", lambda d: d + 1), ("const", lambda d: 1), ("inv", lambda d: 1 / (d + 1)),
    ("exp", lambda d: (d + 1) * np.exp(-2 * d))])
def test_diagonal_strength_entry_by_entry(weighting: Weighting, weight) -> None:
    matrix = as_matrix(KERNEL)
    above = sum((weight(i - j) * matrix[i, j]) ** 2 for i in range(N) for j in range(i))
    below = N * sum(matrix[i, i] ** 2 for i in range(N)) + 1
    agree(diagonal_strength(KERNEL, weighting, decay=2.0), 2 / N * above / below)
    assert diagonal_strength(np.diag([1.0, 2.0, 3.0]), weighting) == 0


def test_bad_input_names_the_value_and_the_remedy() -> None:
    with pytest.raises(InputError, match="'linear' is not one of lin, const, inv, exp"):
        diagonal_strength(KERNEL, "linear")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="decay must be a number of at least 0, got -1"):
        diagonal_strength(KERNEL, "exp", decay=-1.0)
    with pytest.raises(InputError, match="3 rows"):
        fourier_summary(np.eye(3))
    with pytest.raises(InputError, match=r"\(3, 4\)"):
        log_magnitude(np.ones((3, 4)))
