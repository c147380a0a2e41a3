"""A described network by the reference's tape in float64, one example after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reference import Case, Described, InputError
from reference.arithmetic import FLOAT64
from reference.jacobian import Linearisation, linearise
from reference.rounding import RoundingTape, moved


@dataclass(frozen=True, eq=False)
class DescribedProbe:
    """See `bench.truth.probe.Probe`. The tape has one mode: `jvp` is not offered."""

    network: Any
    params: Mapping[str, np.ndarray]
    constants: Mapping[str, np.ndarray]
    x1: np.ndarray
    x2: np.ndarray | None
    unit: float = 0.0
    seed: int = 0
    in_batches: bool = False

    @classmethod
    def of(cls, case: Case) -> DescribedProbe:
        """Raises `InputError` for a network that the reference has no forward pass for."""
        if not isinstance(case.network, Described):
            raise InputError(f"the reference computes its own networks, not {type(case.network).__name__} "
                             f"(case {case.name!r})")
        params, constants = ({name: np.asarray(value, dtype=np.float64) for name, value in given.items()}
                             for given in (case.params, case.constants))
        return cls(case.network, params, constants, case.x1, case.x2)

    @property
    def n_outputs(self) -> int:
        return self.network.n_outputs

    @property
    def same(self) -> bool:
        return self.x2 is None

    @property
    def n_params(self) -> int:
        return sum(value.size for value in self.params.values())

    def examples(self, which: int, some: Sequence[int] | None = None) -> np.ndarray:
        x = self.x1 if which == 1 or self.x2 is None else self.x2
        return x if some is None else x[list(some)]

    def values(self, x: np.ndarray, step: np.ndarray | None = None) -> np.ndarray:
        at = self if step is None else replace(self, params=self._stepped(step))
        return np.stack([at._run(example, n).output.value.ravel() for n, example in enumerate(x)])

    def jacobian(self, x: np.ndarray, outputs: Sequence[int]) -> np.ndarray:
        eye = np.eye(self.n_outputs)[list(outputs)]
        return np.stack([[self._pull(run, row) for row in eye]
                         for run in (self._run(example, n) for n, example in enumerate(x))])

    def vjp(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        total = np.zeros(self.n_params)
        for n, example in enumerate(x):
            total += self._pull(self._run(example, n), u[n])
        return total

    def jvp(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        raise NotImplementedError("the tape has no forward mode")

    def rounded(self, unit: float, seed: int) -> DescribedProbe:
        rng = np.random.default_rng(seed)
        params = {name: moved(value, unit, rng) for name, value in self.params.items()}
        x1 = moved(self.x1, unit, rng)
        x2 = None if self.x2 is None else moved(self.x2, unit, rng)
        return replace(self, params=params, x1=x1, x2=x2, unit=unit, seed=seed)

    def float32_inside(self) -> bool:
        return False

    def _run(self, example: np.ndarray, n: int) -> Linearisation:
        tape = RoundingTape(self.unit, np.random.default_rng((self.seed, n))) if self.unit else None
        return linearise(self.network, FLOAT64, {**self.params, **self.constants}, example, tape)

    def _pull(self, run: Linearisation, u: np.ndarray) -> np.ndarray:
        leaves = [run.leaves[name] for name in self.params]
        gradients = run.output.tape.gradients(run.output, u.reshape(run.output.value.shape), leaves)
        return np.concatenate([gradient.ravel() for gradient in gradients])

    def _stepped(self, step: np.ndarray) -> dict[str, np.ndarray]:
        ends = np.cumsum([value.size for value in self.params.values()])[:-1]
        return {name: value + part.reshape(value.shape)
                for (name, value), part in zip(self.params.items(), np.split(step, ends), strict=True)}
