"""A small network, linearised: what the ways of predicting are compared on, and how far they may differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from reference import seed_of
from studies.prediction import Kernels

AGREEMENT = 1e-9
"""Of float64 predictions, relative to the targets' size. Integrations are good to 1e-12 a step, and take hundreds; a
closed form loses what K(test, train) K(train, train)⁻¹ amplifies, about 1e3 here."""

SIZES = (4, 7, 6, 3)
DEPTH = len(SIZES) - 1
N, M, O = 6, 4, SIZES[-1]


@dataclass(frozen=True, eq=False)
class Problem:
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

    def changed(self, **fields: np.ndarray) -> Problem:
        return replace(self, **fields)

    @property
    def start(self) -> dict[str, Any]:
        return {"f0": self.f0, "f0_test": self.f0_test}


@cache
def problem() -> Problem:
    rng = np.random.default_rng(seed_of("a network to predict"))
    params: dict[str, np.ndarray] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(SIZES)):
        params[f"W{layer}"] = rng.normal(size=(inputs, outputs)) / inputs**0.5
        params[f"b{layer}"] = 0.3 * rng.normal(size=outputs)
    x = rng.normal(size=(N + M, SIZES[0]))
    f, J = outputs_and_jacobian(params, x)
    return Problem(params, x[:N], x[N:], rng.normal(size=(N, O)), f[:N], f[N:], J[:N], J[N:])


def network(params: Any, x: Any) -> Any:
    """Three layers with tanh between them, of arrays of any framework. With fewer the kernel's outputs commute."""
    for layer in range(DEPTH - 1):
        x = x @ params[f"W{layer}"] + params[f"b{layer}"]
        x = 1 - 2 / (_exp(2 * x) + 1)  # tanh, which has another name in each framework
    return x @ params[f"W{DEPTH - 1}"] + params[f"b{DEPTH - 1}"]


def _exp(x: Any) -> Any:
    return x.exp() if hasattr(x, "exp") else math.e**x


def outputs_and_jacobian(params: Mapping[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The network's outputs (examples, O) and their derivatives (examples, O, P), by hand."""
    inputs = [x]
    for layer in range(DEPTH - 1):
        inputs.append(np.tanh(inputs[-1] @ params[f"W{layer}"] + params[f"b{layer}"]))
    back = np.broadcast_to(np.eye(O), (len(x), O, O))  # of output a by what a layer puts out
    J: list[np.ndarray] = []
    for layer in reversed(range(DEPTH)):
        J += [back, np.einsum("ni,nah->naih", inputs[layer], back).reshape(len(x), O, -1)]
        back = back @ params[f"W{layer}"].T * (1 - inputs[layer] ** 2)[:, None]
    return inputs[-1] @ params[f"W{DEPTH - 1}"] + params[f"b{DEPTH - 1}"], np.concatenate(J, -1)


def apart(found: Any, due: Any) -> float:
    """The largest difference of train and test outputs, relative to the targets' size; infinite where one is NaN."""
    largest = max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(found[:2], due[:2], strict=True))
    return largest / float(np.abs(problem().y).max()) if np.isfinite(largest) else np.inf
