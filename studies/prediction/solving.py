"""The kernel of the training examples, and what answers for φ(K + ρ) at its size and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator, eigsh

from reference import InputError
from reference.case import DType
from studies.prediction.dense import Eigensystem, Factorised, InEigenbasis, factorised
from studies.prediction.forms import Form, dtype_of, products, square
from studies.prediction.krylov import Products
from studies.prediction.modes import Modes
from studies.prediction.resolution import Singular, check_singular, resolution

Solver = Literal["auto", "eigendecomposition", "cholesky", "conjugate_gradients"]

MOST_ROWS = 15_000
"""Of a matrix: 1.8 GB for the kernel, and as much for its eigenvectors. Beyond, "auto" takes products with vectors."""


@dataclass(frozen=True)
class Ridge:
    """ρ, added to the diagonal of K: "absolute", or relative to the "mean_trace", tr K/(N·O), the mean of the diagonal.

    Neural-tangents' `diag_reg` is the latter, and with `diag_reg_absolute_scale` the former.
    """

    value: float
    scale: Literal["absolute", "mean_trace"]

    def __post_init__(self) -> None:
        is_number = isinstance(self.value, Real) and 0 <= self.value < np.inf
        if not is_number or self.scale not in ("absolute", "mean_trace"):
            raise InputError("a ridge is a number of at least 0 that is \"absolute\" or relative to the "
                             f"\"mean_trace\", got {self!r}")


NO_RIDGE = Ridge(0.0, "absolute")


@dataclass(frozen=True, eq=False)
class TrainKernel:
    """K(train, train) with its ridge. Whatever is decomposed is kept. Raises `InputError` for what cannot be solved."""

    kernel: Any
    form: Form
    ridge: Ridge = NO_RIDGE
    solver: Solver = "auto"
    singular: Singular = "error"
    given_precision: DType | None = None

    def __post_init__(self) -> None:
        if self.solver not in get_args(Solver):
            raise InputError(f"solver={self.solver!r} is not one of {', '.join(get_args(Solver))}")
        check_singular(self.singular)
        if self.given_precision not in (None, *get_args(DType)):
            raise InputError(f"precision={self.given_precision!r} is not one of {', '.join(get_args(DType))}")
        if self.is_operator and self.solver in ("eigendecomposition", "cholesky"):
            raise InputError(f"solver={self.solver!r} needs the kernel as an array, and it is an operator")
        _ = self.rho, self.is_operator or self.matrices  # what cannot be used is told now

    def for_paths(self, paths: Sequence[Modes]) -> InEigenbasis | Factorised | Products:
        """What answers for these functions of the eigenvalues."""
        ct, all_infinite = max(path.reach for path in paths), all(np.isinf(path.reach) for path in paths)
        if self.is_operator or self.solver == "conjugate_gradients" or (
                self.solver == "auto" and self.matrices.shape[-1] > MOST_ROWS):
            return self._products()
        if self.solver == "cholesky" and not all_infinite:
            raise InputError("solver='cholesky' is for t = inf alone, got c·t = "
                             f"{min(path.reach for path in paths):.6g} as well; leave it to 'auto'")
        if self.solver in ("auto", "cholesky") and all_infinite:
            found = factorised(self.matrices, self.rounding, self.rho)
            if found is not None:
                return found
        return self._eigensystem.until(ct, self.rho, self.singular)

    @property
    def is_operator(self) -> bool:
        return isinstance(self.kernel, LinearOperator)

    @cached_property
    def matrices(self) -> np.ndarray:
        return square(self.kernel, self.form, "the kernel of the training examples")

    @cached_property
    def rho(self) -> float:
        """The ridge, absolute."""
        if not isinstance(self.ridge, Ridge):
            raise InputError(f"ridge={self.ridge!r} does not say its scale; give Ridge({self.ridge!r}, \"absolute\") "
                             f"or Ridge({self.ridge!r}, \"mean_trace\")")
        if self.ridge.scale == "absolute" or not self.ridge.value:
            return self.ridge.value
        return self.ridge.value * self._mean_trace

    @cached_property
    def _mean_trace(self) -> float:
        """That of an operator by its own method, as `impls.ntk_operator` has one."""
        if not self.is_operator:
            return float(np.trace(self.matrices, axis1=-2, axis2=-1).mean()) / self.matrices.shape[-1]
        if not callable(getattr(self.kernel, "trace", None)):
            raise InputError("the trace of an operator without the method trace() is not known; give the ridge as "
                             "absolute")
        return float(self.kernel.trace()) / self.kernel.shape[0]

    @cached_property
    def largest(self) -> float:
        """λ_max, without the ridge."""
        if not self.is_operator and "_eigensystem" in vars(self):
            return self._eigensystem.largest
        return max(_largest(each) for each in self._operators)

    @cached_property
    def precision(self) -> DType:
        return self.given_precision or dtype_of(self.kernel)

    @cached_property
    def rounding(self) -> np.ndarray:
        return resolution(self.matrices, self.precision)

    @cached_property
    def _operators(self) -> list[LinearOperator]:
        if self.is_operator:
            return [products(self.kernel, "the kernel of the training examples")]
        return [aslinearoperator(each) for each in self.matrices]

    @cached_property
    def _eigensystem(self) -> Eigensystem:
        return Eigensystem(self.matrices, self.rounding)

    def _products(self) -> Products:
        if self.singular != "error":
            raise InputError(f"singular={self.singular!r} needs all eigenvalues; with kernel-vector products give a "
                             "ridge")
        if self.form.name == "independent":
            raise InputError("kernel-vector products serve full and shared kernels; give the kernel of one output at a "
                             "time")
        return Products(self._operators[0], self.rho, self.precision)


def _largest(operator: LinearOperator) -> float:
    n = operator.shape[0]
    if n < 3:  # too few rows for ARPACK
        return float(np.linalg.eigvalsh(operator.matmat(np.eye(n)))[-1])
    start = np.random.default_rng(0).standard_normal(n)  # ones are in the null space of a centred kernel
    if not operator.matvec(start).any():
        return 0.0
    return float(eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False)[0])
