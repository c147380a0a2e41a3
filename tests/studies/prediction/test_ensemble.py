"""Infinite ensembles: forms of the kernels, and what a covariance is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from reference import InputError
from studies.prediction import Ensemble, Gaussian, Kernels
from studies.prediction.ensemble import Kind
from tests.studies.prediction.comparisons import gaussian_kernels
from tests.studies.prediction.problems import AGREEMENT, M, O, problem

T = np.array([0.0, 0.5, 20.0])
NTK, NNGP = gaussian_kernels()


def ensemble(**arguments: Any) -> Ensemble:
    return Ensemble(problem().y, **{"loss": "half_mean", "ntk": NTK, "nngp": NNGP, **arguments})


def close(found: Any, due: Any) -> bool:
    return all(np.abs(np.asarray(a) - np.asarray(b)).max() <= AGREEMENT * np.abs(np.asarray(NNGP.test)).max()
               for a, b in zip(found[:2], due[:2], strict=True))


@pytest.mark.parametrize("kind", ["ntk", "nngp", "ntkgp"])
def test_forms_of_the_kernels_agree(kind: Kind) -> None:
    shared = ensemble().at(T, kind)

    def of(expand: Any) -> Gaussian:
        return ensemble(**{name: Kernels(*(expand(K) for K in (given.train, given.test_train, given.test)))
                           for name, given in (("ntk", NTK), ("nngp", NNGP))}).at(T, kind)

    full, each = of(lambda K: K[:, :, None, None] * np.eye(O)), of(lambda K: np.repeat(K[:, :, None], O, 2))
    assert full.covariance.shape == (len(T), M, M, O, O)
    assert close(full, (shared.mean, shared.covariance[..., None, None] * np.eye(O)))
    assert close(each, (shared.mean, np.repeat(shared.covariance[..., None], O, -1)))


@pytest.mark.parametrize("kind", ["ntk", "nngp", "ntkgp"])
def test_a_covariance_begins_at_the_prior_and_stays_one(kind: Kind) -> None:
    found = ensemble(loss="half_sum").at(np.array([0.0, 0.01, 1.0, np.inf]), kind)
    prior = NTK.test if kind == "ntkgp" else NNGP.test
    np.testing.assert_allclose(found.covariance[0], prior, rtol=AGREEMENT)
    assert np.linalg.eigvalsh(found.covariance).min() >= -AGREEMENT
    np.testing.assert_array_equal(found.mean[0], 0)


def test_what_is_missing_is_told() -> None:
    for arguments, kind, says in (
            ({"nngp": None}, "ntk", "this needs the nngp kernels"),
            ({"ntk": None}, "ntkgp", "this needs the ntk kernels"),
            ({"nngp": Kernels(NNGP.train, NNGP.test_train)}, "nngp", r"covariances need K\(test, test\) as well"),
            ({}, "bayes", "kind='bayes' is not one of ntk, nngp, ntkgp"),
            ({"nngp": Kernels(aslinearoperator(NNGP.train), NNGP.test_train, NNGP.test)}, "nngp",
             "covariances need kernels that are arrays")):
        with pytest.raises(InputError, match=says):
            ensemble(**arguments).at(1.0, kind)  # pyright: ignore[reportArgumentType]
    assert ensemble(ntk=None).at(1.0, "nngp").mean.shape == (M, O)
