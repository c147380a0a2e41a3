"""Kernels for scikit-learn: one object for `SVC`, `KernelRidge` and `GaussianProcessRegressor`.

Such an object is a `sklearn.gaussian_process.kernels.Kernel` without hyperparameters of its own: SVC calls it, the
others know its kind, and it combines with theirs, as in ``ConstantKernel() * NTKKernel(model) + WhiteKernel()``.
Gram matrices made beforehand need no object for ``kernel="precomputed"`` of SVC and KernelRidge; `PrecomputedKernel`
gives one to a Gaussian process too, and lets a pipeline split it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64
from sklearn.gaussian_process.kernels import Kernel

from impls import ntk
from impls.frameworks.arrays import to_numpy
from reference import InputError
from studies.matrix import as_array, as_matrix

Gram = Float64[np.ndarray, "N1 N2"]
Diagonal = Float64[np.ndarray, " N"]


class _Fixed(Kernel):
    """A kernel with nothing to tune: what scikit-learn asks of each."""

    def is_stationary(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  (it raises, there)
        """It is not, in general, a function of x − x'."""
        return False

    def __sklearn_clone__(self) -> _Fixed:
        """The same network, not a copy of it: nothing here changes it."""
        return type(self)(**self.get_params(deep=False))

    def clone_with_theta(self, theta: np.ndarray) -> _Fixed:
        """The same, as there are no hyperparameters."""
        return self.__sklearn_clone__()

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and all(
            mine is theirs for mine, theirs in zip(self.get_params().values(), other.get_params().values(),  # pyright: ignore
                                                   strict=True)))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def _with_gradient(self, gram: Gram, eval_gradient: bool) -> Any:
        return (gram, np.empty((*gram.shape, 0))) if eval_gradient else gram


class NTKKernel(_Fixed):
    """The trace Σ_a K[n, m, a, a] of a network's kernel, between rows of X (N, features).

    `model`, `params`, `method` and the `options` (a dict, such as ``{"proj_dim": 4096, "seed": 0}``) are those of
    `impls.ntk`. `shape` is that of one example for the network, where it is not a vector: ``(1, 8, 8)``. Stochastic
    methods draw the same projections in every call, those of their `seed`.
    """

    def __init__(self, model: Any, params: Any = None, shape: tuple[int, ...] | None = None, method: str = "auto",
                 options: dict[str, Any] | None = None) -> None:
        self.model = model
        self.params = params
        self.shape = shape
        self.method = method
        self.options = options

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """(N1, N2); Y=None means Y = X. With `eval_gradient`, and its derivative (N1, N2, 0) by no hyperparameter."""
        gram = self._ntk(self._examples(X), None if Y is None or Y is X else self._examples(Y))
        return self._with_gradient(gram, eval_gradient)

    def diag(self, X: Any) -> Diagonal:  # pyright: ignore[reportIncompatibleMethodOverride]
        """K(x_n, x_n), (N,), at the cost of N entries where the method is exact."""
        examples = self._examples(X)
        if self.options or self.method != "auto":
            return np.diag(self._ntk(examples, None)).copy()
        return self._ntk(examples, None, pairs="same")

    def _ntk(self, x1: np.ndarray, x2: np.ndarray | None, **asked: Any) -> np.ndarray:
        found = ntk(self.model, x1, x2, params=self.params, outputs="trace", method=self.method,
                    **(self.options or {}), **asked)
        return to_numpy(found).astype(np.float64)

    def _examples(self, X: Any) -> np.ndarray:
        rows = as_array(X, "X")
        if self.shape is None:
            return rows
        if rows.ndim != 2 or rows.shape[1] != np.prod(self.shape):
            raise InputError(f"X has shape {rows.shape}, and examples of shape {self.shape} need "
                             f"(N, {np.prod(self.shape)}); give the right shape=")
        return rows.reshape(len(rows), *self.shape)


class PrecomputedKernel(_Fixed):
    """A kernel (N, N) of N examples, as a function of their places: X is (n, 1), integers from 0 to N − 1."""

    def __init__(self, gram: Any) -> None:
        self.gram = gram

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """(N1, N2), the rows and columns of those places."""
        matrix = as_matrix(self.gram, "gram")
        rows = self._places(X)
        gram = matrix[np.ix_(rows, rows if Y is None else self._places(Y))]
        return self._with_gradient(gram, eval_gradient)

    def diag(self, X: Any) -> Diagonal:  # pyright: ignore[reportIncompatibleMethodOverride]
        """K(x_n, x_n), (N,)."""
        return np.diag(as_matrix(self.gram, "gram"))[self._places(X)]

    def _places(self, X: Any) -> np.ndarray:
        given = as_array(X, "X")
        places = given.ravel().astype(int)
        n = len(self.gram)
        if given.size != len(given) or (places != given.ravel()).any() or not ((places >= 0) & (places < n)).all():
            raise InputError(f"X of a precomputed kernel holds places of examples, (n, 1) integers from 0 to {n - 1}; "
                             f"got shape {given.shape} with values from {given.min():g} to {given.max():g}")
        return places
