"""Ranks, their fall over the layers, and units that do nothing: each against another way to the same number."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special

from reference import InputError, tolerance
from studies.tracking.ranks import gini_coefficient, rank_drop, ranks, singular_values
from studies.tracking.units import inactive_units

RNG = np.random.default_rng(0)
CLOSE = tolerance("float64")


def _features(sigma: list[float], n: int = 6, h: int = 9) -> np.ndarray:
    """With these singular values."""
    left, right = (np.linalg.qr(RNG.standard_normal((size, size)))[0] for size in (n, h))
    return (left[:, :len(sigma)] * sigma) @ right[:, :len(sigma)].T


def test_ranks_of_known_singular_values() -> None:
    sigma = [10.0, 4.0, 1.0, 0.09]
    found = singular_values(_features(sigma).reshape(6, 3, 3))
    np.testing.assert_allclose(found[:4], sigma, rtol=CLOSE)
    of = ranks(found, shape=(6, 9))
    p = np.array(sigma) / sum(sigma)
    assert of["effective"] == pytest.approx(math.exp(scipy.special.entr(p).sum()), rel=CLOSE)
    assert of["nuclear"] == pytest.approx(15.09, rel=CLOSE)
    # 100 + 16 of 117.0081 is 0.9914; 10 + 4 + 1 of 15.09 is 0.994, 14 of it 0.928; 0.09 is below 1 % of 10.
    assert (of["approximate"], of["approximate_l1"], of["numerical"], of["exact"]) == (2, 3, 3, 4)


@pytest.mark.parametrize("shape", [(4, 12), (12, 4), (7, 7)])
def test_ranks_by_brute_force(shape: tuple[int, int]) -> None:
    phi = RNG.standard_normal(shape) @ np.diag(0.5 ** np.arange(shape[1]))
    sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(phi @ phi.T)[::-1], 0))[:min(shape)]
    of = ranks(singular_values(phi), shape=shape)
    assert of["exact"] == np.linalg.matrix_rank(phi)
    assert of["nuclear"] == pytest.approx(np.linalg.norm(phi, "nuc"), rel=CLOSE)
    for name, weights in (("approximate", sigma**2), ("approximate_l1", sigma)):
        k = int(of[name])
        assert weights[:k].sum() >= 0.99 * weights.sum() > weights[:k - 1].sum()
    assert of["numerical"] == sum(value >= 0.01 * sigma[0] for value in sigma)


def test_ranks_of_equal_and_of_no_singular_values() -> None:
    equal = ranks(np.ones(5))
    assert equal["effective"] == pytest.approx(5, rel=CLOSE)
    assert all(equal[name] == 5 for name in ("approximate", "approximate_l1", "numerical", "nuclear", "exact"))
    assert set(ranks(np.zeros(3)).values()) == {0.0}
    with pytest.raises(InputError, match="has the training diverged"):
        singular_values(np.array([[1.0, np.inf]]))


def test_the_two_definitions_of_a_falling_rank() -> None:
    curve = [8.0, 6.0, 7.0, 1.0]  # it rises once, where the definitions part
    clipped, signed = rank_drop(curve, "clipped", "difference"), rank_drop(curve, "signed", "difference")
    # Drops 2, −1, 6. Clipped and ascending 0, 2, 6: (−2·0 + 0·2 + 2·6)/(3·8). Signed −1, 2, 6: (2 + 0 + 12)/(3·7).
    assert clipped.gini == pytest.approx(12 / 24, rel=CLOSE)
    assert signed.gini == pytest.approx(14 / 21, rel=CLOSE)
    assert clipped.centroid == pytest.approx((6 + 2 * 7 + 3 * 1) / 22, rel=CLOSE)
    assert signed.centroid == pytest.approx((1 * 2 - 2 * 1 + 3 * 6) / 7, rel=CLOSE)
    assert clipped.area == signed.area == pytest.approx(np.trapezoid(curve) / (8 * 3), rel=CLOSE)
    ratio = rank_drop(curve, "signed", "ratio")
    d = np.array([2 / 8, -1 / 6, 6 / 7])
    assert ratio.centroid == pytest.approx(np.arange(1, 4) @ d / d.sum(), rel=CLOSE)


def test_ranks_that_do_not_fall() -> None:
    flat = rank_drop([5.0, 5.0, 5.0], "clipped")
    assert flat == (0.0, 1.0, 1.0)
    assert np.isnan(rank_drop([5.0, 5.0, 5.0], "signed")[:2]).all()
    assert np.isnan(rank_drop([0.0, 0.0])[1:]).all()
    with pytest.raises(InputError, match="at least two ranks"):
        rank_drop([3.0])


def test_the_gini_coefficient_by_pairs() -> None:
    values = RNG.uniform(0, 1, 11)
    by_pairs = np.abs(np.subtract.outer(values, values)).mean() / (2 * values.mean())
    assert gini_coefficient(values) == pytest.approx(by_pairs, rel=CLOSE)


@pytest.mark.parametrize(("activation", "flat", "live"), [
    ("relu", [0.0, 0.0], [0.0, 0.1]), ("sigmoid", [0.001, 0.999], [0.001, 0.5]),
    ("tanh", [-0.995, 0.999], [0.9, 0.999]),
    ("selu", [-1.71, -1.75], [-1.71, -1.6]), ("elu", [-0.995, -1.0], [-0.995, 2.0]),
])
def test_inactive_units(activation: str, flat: list[float], live: list[float]) -> None:
    features = np.array([flat, live, flat, live, live]).T
    assert inactive_units(features, activation) == 2 / 5  # pyright: ignore[reportArgumentType]
    assert inactive_units(features.reshape(2, 5, 1), activation) == 2 / 5  # pyright: ignore[reportArgumentType]


def test_units_of_an_unknown_activation() -> None:
    with pytest.raises(InputError, match=r"'gelu' are not known to be flat anywhere; did you mean (selu|elu|relu)"):
        inactive_units(np.zeros((2, 2)), "gelu")  # pyright: ignore[reportArgumentType]
