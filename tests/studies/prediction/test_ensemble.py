"""Infinite ensembles, against neural-tangents' and against the members of an ensemble, trained one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from reference import InputError
from studies.prediction import Ensemble, Gaussian, Kernels, Linearised, Ridge
from studies.prediction.ensemble import Kind
from tests.studies.prediction.problems import AGREEMENT, M, N, O, problem
from tests.studies.prediction.witnesses import NEURAL_TANGENTS, neural_tangents_predict

T = np.array([0.0, 0.5, 20.0])
RIDGES = (Ridge(0.0, "absolute"), Ridge(0.2, "absolute"), Ridge(0.1, "mean_trace"))


def features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N + M, 2 * N))


def kernels(of: np.ndarray) -> Kernels:
    """Shared by the outputs: that of functions Φ w with w ~ N(0, 1)."""
    K = of @ of.T
    return Kernels(K[:N, :N], K[N:, :N], K[N:, N:])


PRIOR = features(1)
NTK, NNGP = kernels(features(0)), kernels(PRIOR)


def ensemble(**arguments: Any) -> Ensemble:
    return Ensemble(problem().y, **{"loss": "half_mean", "ntk": NTK, "nngp": NNGP, **arguments})


def close(found: Any, due: Any) -> bool:
    return all(np.abs(np.asarray(a) - np.asarray(b)).max() <= AGREEMENT * np.abs(np.asarray(NNGP.test)).max()
               for a, b in zip(found[:2], due[:2], strict=True))


@pytest.mark.parametrize("ridge", RIDGES, ids=str)
@pytest.mark.parametrize("kind", ["ntk", "nngp", "ntkgp"])
def test_the_covariance_is_that_of_members_trained_one_by_one(kind: Kind, ridge: Ridge) -> None:
    """Members are linear in w and in the noise of their targets, so that 2N + N unit vectors tell their covariance."""
    prior, trained = {"ntk": (PRIOR, NTK), "nngp": (PRIOR, NNGP), "ntkgp": (features(0), NTK)}[kind]
    rho = ridge.value * (np.trace(trained.train) / N if ridge.scale == "mean_trace" else 1)
    noise = 0 if kind == "ntk" else rho**0.5
    y = np.concatenate([np.zeros((N, 2 * N)), noise * np.eye(N)], 1)
    f0 = np.concatenate([prior, np.zeros((N + M, N))], 1)
    members = Linearised(trained, y, loss="half_sum", f0=f0[:N], f0_test=f0[N:], ridge=ridge)
    ours = ensemble(loss="half_sum", ridge=ridge)
    for t in (*T, np.inf):
        trained_members = members.gradient_flow(t).test
        assert trained_members is not None
        mean = Linearised(trained, problem().y, loss="half_sum", ridge=ridge).gradient_flow(t).test
        assert close(ours.at(t, kind), (mean, trained_members @ trained_members.T))


def stax_kernels() -> tuple[Any, Kernels, Kernels]:
    """A kernel function of neural-tangents', and what it gives on the problem's examples."""
    import jax

    neural_tangents_predict()
    from neural_tangents import stax

    with jax.enable_x64(True):
        kernel_fn: Any = stax.serial(stax.Dense(16, 1.5, 0.1), stax.Erf(), stax.Dense(O, 1.5, 0.1))[2]
        x, x_test = problem().x_train, problem().x_test
        pairs = [kernel_fn(*each, ("nngp", "ntk")) for each in ((x, None), (x_test, x), (x_test, None))]
        return (kernel_fn, Kernels(*(np.asarray(pair.ntk) for pair in pairs)),
                Kernels(*(np.asarray(pair.nngp) for pair in pairs)))


@NEURAL_TANGENTS
@pytest.mark.parametrize("ridge", RIDGES, ids=str)
def test_ensembles_are_neural_tangents(ridge: Ridge) -> None:
    import jax

    kernel_fn, ntk, nngp = stax_kernels()
    ours = ensemble(ntk=ntk, nngp=nngp, ridge=ridge)
    predict = neural_tangents_predict()
    with jax.enable_x64(True):
        theirs = predict.gradient_descent_mse_ensemble(
            kernel_fn, jax.numpy.asarray(problem().x_train), jax.numpy.asarray(problem().y), diag_reg=ridge.value,
            diag_reg_absolute_scale=ridge.scale == "absolute")
        for t in (T, None):
            due = theirs(t, jax.numpy.asarray(problem().x_test), compute_cov=True)
            at = np.inf if t is None else t
            assert close(ours.at(at, "ntk"), due.ntk)
            assert close(ours.at(at, "nngp"), due.nngp)


@NEURAL_TANGENTS
@pytest.mark.parametrize("ridge", RIDGES, ids=str)
def test_posteriors_are_neural_tangents(ridge: Ridge) -> None:
    import jax

    kernel_fn, ntk, nngp = stax_kernels()
    ours = ensemble(ntk=ntk, nngp=nngp, ridge=ridge)
    with jax.enable_x64(True):
        x, x_test = problem().x_train, problem().x_test
        both = [kernel_fn(*each, ("nngp", "ntk")) for each in ((x, None), (x_test, x), (x_test, None))]
        theirs = neural_tangents_predict().gp_inference(
            both[0], jax.numpy.asarray(problem().y), diag_reg=ridge.value,
            diag_reg_absolute_scale=ridge.scale == "absolute")
        for kind in ("ntk", "nngp", "ntkgp"):
            assert close(ours.at(np.inf, kind), theirs(kind, both[1], both[2]))


@NEURAL_TANGENTS
def test_on_the_training_examples_it_is_neural_tangents() -> None:
    import jax

    kernel_fn, ntk, nngp = stax_kernels()
    ours = ensemble(ntk=Kernels(ntk.train), nngp=Kernels(nngp.train))
    with jax.enable_x64(True):
        theirs = neural_tangents_predict().gradient_descent_mse_ensemble(
            kernel_fn, jax.numpy.asarray(problem().x_train), jax.numpy.asarray(problem().y))
        for kind in ("ntk", "nngp"):
            assert close(ours.at(T, kind), theirs(T, None, kind, compute_cov=True))


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
