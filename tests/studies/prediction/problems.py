"""A small network, linearised: what the ways of predicting are compared on, and how far they may differ."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from reference import seed_of
from studies.prediction import Kernels

AGREEMENT = 1e-9
"""Of float64 predictions, relative to the targets' size. Integrations are good to 1e-12 a step, and take hundreds; a
closed form loses what K(test, train) K(train, train)⁻¹ amplifies, about 1e3 here."""

SIZES = (4, 8, 3)
N, M, O = 6, 4, SIZES[-1]


class Problem(NamedTuple):
    """Parameters of the network, examples, targets, and its outputs and Jacobians (examples, O, P) before training."""

    params: Mapping[str, np.ndarray]
    x_train: np.ndarray
    x_test: np.ndarray
    y: np.ndarray
    f0: np.ndarray
    f0_test: np.ndarray
    J: np.ndarray
    J_test: np.ndarray

    @property
    def kernels(self) -> Kernels:
        """From the Jacobians that are written out by hand: by no method of the registry."""
        def between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            return np.einsum("nap,mbp->nmab", left, right)

        return Kernels(between(self.J, self.J), between(self.J_test, self.J), between(self.J_test, self.J_test))

    @property
    def start(self) -> dict[str, Any]:
        return {"f0": self.f0, "f0_test": self.f0_test}


@cache
def problem() -> Problem:
    rng = np.random.default_rng(seed_of("a network to predict"))
    I, H, O = SIZES
    params = {"W": rng.normal(size=(I, H)) / I**0.5, "b": 0.3 * rng.normal(size=H),
              "V": rng.normal(size=(H, O)) / H**0.5, "c": 0.3 * rng.normal(size=O)}
    x = rng.normal(size=(N + M, I))
    f, J = outputs_and_jacobian(params, x)
    return Problem(params, x[:N], x[N:], rng.normal(size=(N, O)), f[:N], f[N:], J[:N], J[N:])


def network(params: Any, x: Any) -> Any:
    """tanh(x W + b) V + c, of arrays of any framework."""
    hidden = x @ params["W"] + params["b"]
    tanh = np.tanh if isinstance(hidden, np.ndarray) else _tanh(hidden)
    return tanh(hidden) @ params["V"] + params["c"]


def _tanh(of: Any) -> Any:
    if type(of).__module__.startswith("torch"):
        import torch

        return torch.tanh
    import jax.numpy as jnp

    return jnp.tanh


def outputs_and_jacobian(params: Mapping[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The network's outputs and derivatives by hand, (examples, O) and (examples, O, P); parameters in order of names
    W, b, V, c."""
    hidden = np.tanh(x @ params["W"] + params["b"])
    pre = (1 - hidden**2)[:, None] * params["V"].T  # of output a by unit h
    n, O = len(x), params["V"].shape[1]
    by_V = np.einsum("nh,ab->nahb", hidden, np.eye(O)).reshape(n, O, -1)
    J = [np.einsum("ni,nah->naih", x, pre).reshape(n, O, -1), pre, by_V, np.broadcast_to(np.eye(O), (n, O, O))]
    return hidden @ params["V"] + params["c"], np.concatenate(J, -1)


def apart(found: Any, due: Any) -> float:
    """The largest difference of train and test outputs, relative to the targets' size; infinite where one is NaN."""
    largest = max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(found[:2], due[:2], strict=True))
    return largest / float(np.abs(problem().y).max()) if np.isfinite(largest) else np.inf
