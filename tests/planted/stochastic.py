"""Random methods: a right one, and some with a mistake each, on which the gate has to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from impls.protocol import Framework, Kind
from reference import Case, Request, select_outputs
from tests.planted.correct import jacobians, second_inputs


@dataclass(frozen=True)
class Projections:
    """K̂ = (factor/S) Σ_s (J1 v_s)(J2 v_s)ᵀ with v_s ~ N(0, 1); takes the option proj_dim."""

    name: str
    factor: float = 1.0
    divided: bool = True
    fixed_seed: bool = False
    other_for_x2: bool = False
    framework: Framework = "numpy"
    kind: Kind = "stochastic"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        return lambda: self._estimate(case, request)

    def _estimate(self, case: Case, request: Request) -> np.ndarray:
        proj_dim = request.options["proj_dim"]
        rng = np.random.default_rng(0 if self.fixed_seed else request.seed)
        left, right = jacobians(case, case.x1), jacobians(case, second_inputs(case))
        v = rng.standard_normal((left.shape[-1], proj_dim))
        w = v + 0.3 * rng.standard_normal(v.shape) if self.other_for_x2 else v
        kernel = np.tensordot(left @ v, right @ w, (2, 2)).transpose(0, 2, 1, 3)
        kernel *= self.factor / (proj_dim if self.divided else 1)
        return select_outputs(kernel, request.outputs).astype(request.dtype)


RIGHT = Projections("planted.right_projections")
TENTH_TOO_LARGE = Projections("planted.tenth_too_large", factor=1.1)
DOUBLED = Projections("planted.doubled", factor=2.0)
NOT_DIVIDED = Projections("planted.not_divided", divided=False)
ONE_KEY_FOR_ALL = Projections("planted.one_key_for_all", fixed_seed=True)
OTHER_PROJECTIONS_FOR_X2 = Projections("planted.other_projections_for_x2", other_for_x2=True)
