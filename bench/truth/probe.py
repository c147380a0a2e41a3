"""A network in float64, asked for derivatives in ways that differ in kind: what the truth of a case is found with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from impls.given.user_network import UserNetwork
from reference import Case

X = Any
"""Examples as the network's own framework holds them."""


class Probe(Protocol):
    """A network at its parameters, P of them in one vector; arrays are NumPy's, of float64."""

    @property
    def in_batches(self) -> bool:
        """Whether `jvp` and `vjp` take all examples at once, by code that `jacobian` does not share."""
        ...

    @property
    def n_outputs(self) -> int: ...

    @property
    def n_params(self) -> int: ...

    @property
    def same(self) -> bool:
        """Whether x2 is x1."""
        ...

    def examples(self, which: int, some: Sequence[int] | None = None) -> X:
        """Those of x1 (`which` = 1) or of x2 (2; of x1 where x2 is None), all or some."""
        ...

    def values(self, x: X, step: np.ndarray | None = None) -> np.ndarray:
        """f at the parameters plus `step`: (N, O)."""
        ...

    def jacobian(self, x: X, outputs: Sequence[int]) -> np.ndarray:
        """(N, outputs, P): reverse mode, one example at a time."""
        ...

    def vjp(self, x: X, u: np.ndarray) -> np.ndarray:
        """Jᵀ u for u (N, O): reverse mode, all examples in a batch."""
        ...

    def jvp(self, x: X, w: np.ndarray) -> np.ndarray:
        """J w for w (P,): (N, O), forward mode, all examples in a batch."""
        ...

    def rounded(self, unit: float, seed: int) -> Probe:
        """The network with parameters, inputs and the result of every operation moved by up to `unit`, relatively."""
        ...

    def float32_inside(self) -> bool:
        """Whether a part of the float64 network, one that parameters or inputs pass through, is computed in float32."""
        ...


def probe(case: Case) -> Probe:
    """Of the case's network: by its own framework where it is a user's, by the tape where it is described."""
    if not isinstance(case.network, UserNetwork):
        from bench.truth.probe_described import DescribedProbe

        return DescribedProbe.of(case)
    if case.network.framework == "torch":
        from bench.truth.probe_torch import TorchProbe

        return TorchProbe.of(case)
    from bench.truth.probe_jax import JaxProbe

    return JaxProbe.of(case)
