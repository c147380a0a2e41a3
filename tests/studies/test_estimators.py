"""Kernels in scikit-learn's estimators: in pipelines, cloned, cross-validated, and against its solvers on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra studies is not installed")
pytest.importorskip("torch", reason="the PyTorch half is not installed")

import torch
from sklearn import gaussian_process, kernel_ridge, svm
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from impls import ntk
from reference import InputError
from studies.estimators import NTKKernel, PrecomputedKernel
from tests.studies.agreement import agree

# Their types are guessed from their defaults, and are not what they take.
GaussianProcessRegressor: Any = gaussian_process.GaussianProcessRegressor
KernelRidge: Any = kernel_ridge.KernelRidge
SVC: Any = svm.SVC

X, LABELS = (part[:60] for part in load_digits(return_X_y=True))
FEW, Y = X[:20] / 16, np.sin(X[:20, 20:22].sum(1))


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)).double()


def convolution() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 1)).double()


def gram(x1: np.ndarray, x2: np.ndarray | None = None) -> np.ndarray:
    both = (torch.tensor(x) if x is not None else None for x in (x1, x2))
    return ntk(network(), *both, outputs="trace").numpy()


def test_the_object_is_the_kernel() -> None:
    kernel = NTKKernel(network())
    agree(kernel(FEW), gram(FEW))
    agree(kernel(FEW, FEW[:3]), gram(FEW, FEW[:3]))
    agree(kernel.diag(FEW), np.diag(gram(FEW)))
    agree(NTKKernel(network(), method="torch_autograd.per_example").diag(FEW), np.diag(gram(FEW)))


def test_images_have_their_shape() -> None:
    found = NTKKernel(convolution(), shape=(1, 8, 8))(FEW[:4])
    agree(found, ntk(convolution(), torch.tensor(FEW[:4].reshape(4, 1, 8, 8)), outputs="trace").numpy())


def test_support_vectors_in_a_pipeline_with_cross_validation() -> None:
    pipeline = make_pipeline(StandardScaler(), SVC(kernel=NTKKernel(network())))
    folds = StratifiedKFold(3)
    scores = cross_val_score(pipeline, X, LABELS, cv=folds)
    due = []
    for train, test in folds.split(X, LABELS):
        scaler: Any = StandardScaler().fit(X[train])
        first, second = scaler.transform(X[train]), scaler.transform(X[test])
        by_array = SVC(kernel="precomputed").fit(gram(first), LABELS[train])
        due.append(by_array.score(gram(second, first), LABELS[test]))
    assert scores.tolist() == due
    assert scores.mean() > 0.8


def test_a_grid_search_clones_the_estimator_and_not_the_network() -> None:
    module = network()
    search = GridSearchCV(make_pipeline(StandardScaler(), KernelRidge(kernel=NTKKernel(module))),
                          {"kernelridge__alpha": [1e-2, 1.0]}, cv=2).fit(FEW, Y)
    assert set(search.cv_results_["param_kernelridge__alpha"]) == {1e-2, 1.0}
    assert search.best_estimator_.named_steps["kernelridge"].kernel.model is module
    copy: Any = clone(SVC(kernel=NTKKernel(module, shape=(64,))))
    copied = copy.kernel
    assert copied.model is module
    assert copied.get_params() == {"model": module, "params": None, "shape": (64,), "method": "auto", "options": None}


def test_ridge_regression_by_kernel_array_and_formula() -> None:
    by_object = KernelRidge(kernel=NTKKernel(network()), alpha=0.1).fit(FEW[:15], Y[:15]).predict(FEW[15:])
    by_array = KernelRidge(kernel="precomputed", alpha=0.1).fit(gram(FEW[:15]), Y[:15])
    agree(by_object, by_array.predict(gram(FEW[15:], FEW[:15])))
    agree(by_object, gram(FEW[15:], FEW[:15]) @ np.linalg.solve(gram(FEW[:15]) + 0.1 * np.eye(15), Y[:15]))


def test_a_gaussian_process_by_kernel_array_and_formula() -> None:
    noise, train, test = 0.1, np.arange(15), np.arange(15, 20)
    model = GaussianProcessRegressor(NTKKernel(network()), alpha=noise).fit(FEW[train], Y[train])
    mean, std = model.predict(FEW[test], return_std=True)
    by_place = GaussianProcessRegressor(PrecomputedKernel(gram(FEW)), alpha=noise).fit(train[:, None], Y[train])
    whole = gram(FEW)
    solved = np.linalg.solve(whole[:15, :15] + noise * np.eye(15), np.c_[Y[train], whole[:15, 15:]])
    agree(mean, whole[15:, :15] @ solved[:, 0])
    agree(std**2, np.diag(whole)[15:] - np.sum(whole[:15, 15:] * solved[:, 1:], axis=0), scale=np.diag(whole).max())
    for found, due in zip(by_place.predict(test[:, None], return_std=True), (mean, std), strict=True):
        agree(found, due)


def test_a_scale_and_noise_are_fitted_around_it() -> None:
    kernel = ConstantKernel(1.0) * PrecomputedKernel(gram(FEW)) + WhiteKernel(0.1)
    places = np.arange(20)[:, None]
    y = np.random.default_rng(0).multivariate_normal(np.zeros(20), 2 * gram(FEW) + 0.5 * np.eye(20))
    model = GaussianProcessRegressor(kernel).fit(places, y)
    before = GaussianProcessRegressor(kernel, optimizer=None).fit(places, y)
    assert model.kernel_.theta.shape == (2,)
    assert model.log_marginal_likelihood_value_ > before.log_marginal_likelihood_value_


def test_a_precomputed_kernel_is_split_by_a_pipeline() -> None:
    places, folds = np.arange(60)[:, None], StratifiedKFold(3)
    scaled = StandardScaler().fit_transform(X)
    by_place = cross_val_score(SVC(kernel=PrecomputedKernel(gram(scaled))), places, LABELS, cv=folds)
    assert by_place.tolist() == cross_val_score(SVC(kernel="precomputed"), gram(scaled), LABELS, cv=folds).tolist()


def test_kernels_are_equal_that_have_the_same_parts() -> None:
    module = network()
    assert NTKKernel(module) == NTKKernel(module)
    assert NTKKernel(module) != NTKKernel(module, shape=(64,))
    assert NTKKernel(module) != RBF()
    assert not NTKKernel(module).is_stationary()


def test_bad_input_names_the_value_and_the_remedy() -> None:
    with pytest.raises(InputError, match=r"\(20, 64\).*\(1, 8, 9\)"):
        NTKKernel(network(), shape=(1, 8, 9))(FEW)
    for places in ([[0], [20]], [[0.5]], [[0, 1]]):
        with pytest.raises(InputError, match="integers from 0 to 19"):
            PrecomputedKernel(gram(FEW))(np.array(places))
    with pytest.raises(InputError, match="not finite"):
        NTKKernel(network())(np.full((2, 64), np.nan))
