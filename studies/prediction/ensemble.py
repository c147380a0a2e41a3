"""Infinite ensembles of infinitely wide networks: mean and covariance of what training makes of them.

Before training the outputs of such networks are a Gaussian process of mean 0 and covariance 𝒦, the NNGP kernel.
Training on the squared error for c·t, with φ_ct of gradient flow (`modes`) and ρ the ridge, makes it one of mean A y:

- ``ntk``, all parameters trained: A = Θ(test, train) φ_ct(Θ + ρ), covariance 𝒦(test, test) + A 𝒦(train, train) Aᵀ −
  A 𝒦(train, test) − its transpose (Lee et al. 2019, 1902.06720, equations 13–16).
- ``nngp``, the last layer trained, and at infinity Bayes' posterior with noise of variance ρ (Lee et al. 2018,
  1711.00165): A = 𝒦(test, train) φ_ct(𝒦 + ρ), covariance 𝒦(test, test) − 𝒦(test, train) φ_2ct(𝒦 + ρ) 𝒦(train, test).
- ``ntkgp``, the same of Θ, as if that were the prior's covariance (He et al. 2020, 2007.05864).

The noise of the last two is in the targets, and widens them: networks trained on noisy targets, and kept near their own
beginnings by ρ, have that covariance at every t (Matthews et al. 2017, Sample-then-optimize). That of ``ntk`` has none.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy.sparse.linalg import LinearOperator

from reference import InputError
from reference.case import DType
from studies.prediction.blocks import Kernels, checked
from studies.prediction.clock import SquaredError, speed, times
from studies.prediction.forms import form_of, n_examples, rectangular, square
from studies.prediction.modes import Flow
from studies.prediction.resolution import Singular
from studies.prediction.solving import NO_RIDGE, Ridge, Solver, TrainKernel
from studies.prediction.targets import Targets, targets

Kind = Literal["ntk", "nngp", "ntkgp"]


class Gaussian(NamedTuple):
    """`mean` (…, M, O), shaped as the targets behind the axes of the time, and `covariance`, (…, M, M) of each output
    where the kernels are shared, else as they are: (…, M, M, O, O) or (…, M, M, O). `jitter` as in `Outputs`."""

    mean: np.ndarray
    covariance: np.ndarray
    jitter: float = 0.0
    truncated: int = 0


@dataclass(frozen=True, eq=False)
class Ensemble:
    """`ntk` and `nngp`: the two kernels, as arrays of one form; without test examples, of the training ones.

    The kernels that a kind does not need may be None. All else as for `Linearised`. Raises `InputError`.
    """

    y: Any
    _: KW_ONLY
    loss: SquaredError
    ntk: Kernels | None = None
    nngp: Kernels | None = None
    ridge: Ridge = NO_RIDGE
    solver: Solver = "auto"
    singular: Singular = "error"
    precision: DType | None = None

    def at(self, t: float | np.ndarray, kind: Kind = "ntk") -> Gaussian:
        """Mean and covariance at the times t ≥ 0, a number or an array; infinity is training to the end."""
        ct = times(t) * speed(self.loss, self._targets.y.size)
        if kind not in get_args(Kind):
            raise InputError(f"kind={kind!r} is not one of {', '.join(get_args(Kind))}")
        trained = self._nngp if kind == "nngp" else self._ntk
        prior = self._nngp if kind != "ntkgp" else self._ntk
        if trained.train.form != prior.train.form or trained.test_train.shape != prior.test_train.shape:
            raise InputError(f"ntk is {trained.train.form.name}, of matrices {trained.test_train.shape}, and nngp "
                             f"{prior.train.form.name}, of {prior.test_train.shape}; give both of one form, and of the "
                             "same examples")
        paths = [(Flow(each), Flow(2 * each)) for each in ct.flat]
        system, form = trained.train.for_paths([each for pair in paths for each in pair]), trained.train.form
        y = form.fold(self._targets.y)
        means, covariances = [], []
        for once, twice in paths:
            A = system.response(once, trained.test_train)
            means.append(form.unfold(A @ y))
            if kind == "ntk":
                crossed = A @ prior.test_train.swapaxes(-1, -2)
                moved = A @ prior.train.matrices @ A.swapaxes(-1, -2) - crossed - crossed.swapaxes(-1, -2)
            else:
                moved = -system.response(twice, trained.test_train) @ trained.test_train.swapaxes(-1, -2)
            covariances.append(prior.test + (moved + moved.swapaxes(-1, -2)) / 2)
        covariance = form.kernel(np.stack(covariances))
        return Gaussian(self._targets.shaped(means, ct.shape), covariance.reshape(*ct.shape, *covariance.shape[1:]),
                        float(system.settled.jitter.max()), int((~system.settled.kept).sum()))

    @cached_property
    def _targets(self) -> Targets:
        return targets(self.y)

    @cached_property
    def _ntk(self) -> _Matrices:
        return self._matrices(self.ntk, "ntk")

    @cached_property
    def _nngp(self) -> _Matrices:
        return self._matrices(self.nngp, "nngp")

    def _matrices(self, given: Kernels | None, what: str) -> _Matrices:
        if given is None:
            raise InputError(f"this needs the {what} kernels; give {what}=Kernels(train, test_train, test)")
        if any(isinstance(each, LinearOperator) for each in vars(checked(given, what)).values()):
            raise InputError("covariances need kernels that are arrays; kernel-vector products give the mean, by "
                             "Linearised")
        form = form_of(given.train, *self._targets.y.shape)
        train = TrainKernel(given.train, form, self.ridge, self.solver, self.singular, self.precision)
        if given.test_train is None:
            return _Matrices(train, train.matrices, train.matrices)
        if given.test is None:
            raise InputError(f"covariances need K(test, test) as well; give {what}=Kernels(train, test_train, test)")
        found = _Matrices(train, rectangular(given.test_train, form, len(self._targets.y), f"{what}.test_train"),
                          square(given.test, form, f"{what}.test"))
        if found.test.shape[-1] != found.test_train.shape[-2]:
            M, due = (n_examples(each, form) for each in (found.test, found.test_train))
            raise InputError(f"{what}.test is of {M} test examples and {what}.test_train of {due}; give both of the "
                             "same")
        return found


class _Matrices(NamedTuple):
    """(B, n, n) behind `train`, (B, m, n) and (B, m, m)."""

    train: TrainKernel
    test_train: np.ndarray
    test: np.ndarray
