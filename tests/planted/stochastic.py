"""Random methods: a right one, and some with a mistake each, on which the gate has to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from impls.protocol import Framework, Kind
from reference import Case, Request, seed_of, select_outputs
from tests.planted.correct import jacobians, second_inputs

Draw = Callable[[Request, int, int], np.ndarray]
"""Projections (P, S) for a request."""


def gaussian(request: Request, n_params: int, proj_dim: int) -> np.ndarray:
    return np.random.default_rng(request.seed).standard_normal((n_params, proj_dim))


def rademacher(request: Request, n_params: int, proj_dim: int) -> np.ndarray:
    signs = np.random.default_rng(request.seed).integers(0, 2, (n_params, proj_dim), dtype=np.int8)
    return 2.0 * signs - 1


def orthogonal(request: Request, n_params: int, proj_dim: int) -> np.ndarray:
    """Bases of the space one after the other, the last one in part: the error is that of this part alone."""
    rng = np.random.default_rng(request.seed)
    bases = [np.linalg.qr(rng.standard_normal((n_params, n_params)))[0] for _ in range(-(-proj_dim // n_params))]
    return np.sqrt(n_params) * np.concatenate(bases, axis=1)[:, :proj_dim]


def one_key_for_all(request: Request, n_params: int, proj_dim: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n_params, proj_dim))


def used_again(request: Request, n_params: int, proj_dim: int) -> np.ndarray:
    """The same 64, over and over."""
    few = np.random.default_rng(request.seed).standard_normal((n_params, 64))
    return np.resize(few.T, (proj_dim, n_params)).T


def seed_plus_index(request: Request, n_params: int, proj_dim: int) -> np.ndarray:
    """The next seed has all of these projections but one."""
    return np.array([np.random.default_rng(request.seed + s).standard_normal(n_params) for s in range(proj_dim)]).T


def by_outputs(request: Request, n_params: int, proj_dim: int) -> np.ndarray:
    rng = np.random.default_rng([request.seed, seed_of(request.outputs)])
    return rng.standard_normal((n_params, proj_dim))


def from_the_clock(request: Request, n_params: int, proj_dim: int) -> np.ndarray:
    return np.random.default_rng().standard_normal((n_params, proj_dim))


@dataclass(frozen=True)
class Projections:
    """K̂ = (factor/S) Σ_s (J1 v_s)(J2 v_s)ᵀ with v_s ~ N(0, 1); takes the option proj_dim, 1024 without it."""

    name: str
    draw: Draw = gaussian
    factor: float = 1.0
    factor_of_output_0: float = 1.0
    left_out: str = ""
    divided: bool = True
    other_for_x2: bool = False
    other_for_given_x2: bool = False
    framework: Framework = "numpy"
    kind: Kind = "stochastic"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        return lambda: self._estimate(case, request)

    def _estimate(self, case: Case, request: Request) -> np.ndarray:
        proj_dim, names = request.options.get("proj_dim", 1024), [name for name in case.params if name != self.left_out]
        left, right = jacobians(case, case.x1, names), jacobians(case, second_inputs(case), names)
        v = self.draw(request, left.shape[-1], proj_dim)
        other = self.other_for_x2 or (self.other_for_given_x2 and case.x2 is not None)
        w = v + 0.3 * np.random.default_rng([request.seed, 1]).standard_normal(v.shape) if other else v
        kernel = np.tensordot(left @ v, right @ w, (2, 2)).transpose(0, 2, 1, 3)
        kernel *= self.factor / (proj_dim if self.divided else 1)
        kernel[:, :, 0] *= np.sqrt(self.factor_of_output_0)
        kernel[..., 0] *= np.sqrt(self.factor_of_output_0)
        return select_outputs(kernel, request.outputs).astype(request.dtype)


RIGHT = Projections("planted.right_projections")
RIGHT_RADEMACHER = Projections("planted.right_rademacher_projections", rademacher)
ORTHOGONAL = Projections("planted.orthogonal_projections", orthogonal)
TENTH_TOO_LARGE = Projections("planted.tenth_too_large", factor=1.1)
TWO_PERCENT_TOO_LARGE = Projections("planted.two_percent_too_large", factor=1.02)
TWO_PERCENT_TOO_SMALL = Projections("planted.two_percent_too_small", factor=0.98)
OUTPUT_0_TWO_PERCENT_TOO_LARGE = Projections("planted.output_0_two_percent_too_large", factor_of_output_0=1.02)
# 4 % of the trace of mlp_gelu.
BIAS_LEFT_OUT = Projections("planted.bias_left_out", left_out="dense0.bias")
DOUBLED = Projections("planted.doubled", factor=2.0)
NOT_DIVIDED = Projections("planted.not_divided", divided=False)
ONE_KEY_FOR_ALL = Projections("planted.one_key_for_all", one_key_for_all)
USED_AGAIN = Projections("planted.used_again", used_again)
TWENTIETH_TOO_LARGE = Projections("planted.twentieth_too_large", factor=1.05)
SEED_PLUS_INDEX = Projections("planted.seed_plus_index", seed_plus_index)
BY_OUTPUTS = Projections("planted.by_outputs", by_outputs)
FROM_THE_CLOCK = Projections("planted.from_the_clock", from_the_clock)
OTHER_PROJECTIONS_FOR_X2 = Projections("planted.other_projections_for_x2", other_for_x2=True)
OTHER_PROJECTIONS_FOR_GIVEN_X2 = Projections("planted.other_projections_for_given_x2", other_for_given_x2=True)
