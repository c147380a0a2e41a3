"""Real networks, trained: their distance from the prediction falls with width at the rate that theory has.

With the network's own kernel before training it is that of the linearisation, O(1/width): the kernel moves by that much
while training lasts (Huang & Yau 2020, 1909.08156; Dyer & Gur-Ari 2020, 1909.11304), where Lee et al. 2019 (1902.06720,
theorem 2.1) prove O(1/√width). With the kernel of infinite width it is O(1/√width), that of one draw of the parameters
from its mean.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from studies.prediction import Kernels, Linearised, kernels
from tests.studies.prediction.problems import O, problem
from tests.studies.prediction.witnesses import neural_tangents_predict

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

WIDTHS, SEEDS, STEPS, RATE = (64, 256, 1024), 6, 100, 0.5
INPUTS = problem().x_train.shape[1]

SLOPE = 0.2
"""Of log distance over log width, of what is seen over a factor of 16 with 6 draws: 0.1."""


def drawn(width: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([width, seed])
    return {"W": rng.normal(size=(INPUTS, width)), "V": rng.normal(size=(width, O))}


def distance(trained: tuple[Any, Any], start: tuple[Any, Any], K: Kernels) -> float:
    """Root mean square over all outputs."""
    f0, f0_test = (np.asarray(each) for each in start)
    predicted = Linearised(K, problem().y, loss="mean", f0=f0, f0_test=f0_test).gradient_descent(
        STEPS, learning_rate=RATE)
    apart = np.concatenate([np.asarray(a) - b for a, b in zip(trained, predicted[:2], strict=True)])
    return float(np.sqrt(np.mean(apart**2)))


def slope(distances: list[float]) -> float:
    """Of log distance, averaged over the draws of each width, over log width."""
    return float(np.polyfit(np.log(WIDTHS), np.log(np.reshape(distances, (-1, SEEDS)).mean(1)), 1)[0])


def in_jax() -> tuple[float, float]:
    """The slopes by a network's own kernel, and by that of infinite width."""
    import jax

    neural_tangents_predict()
    from neural_tangents import stax

    jnp = jax.numpy

    def network(params: Any, x: Any) -> Any:
        hidden = jax.scipy.special.erf(jnp.asarray(x) @ params["W"] / INPUTS**0.5)
        return hidden @ params["V"] / params["V"].shape[0] ** 0.5

    @jax.jit
    def trained(params: Any) -> Any:
        descend = jax.grad(lambda params: ((network(params, problem().x_train) - problem().y) ** 2).mean())

        def step(_: int, params: Any) -> Any:
            return jax.tree.map(lambda p, g: p - RATE * g, params, descend(params))

        return jax.lax.fori_loop(0, STEPS, step, params)

    x, x_test = problem().x_train, problem().x_test
    kernel_fn: Any = stax.serial(stax.Dense(1), stax.Erf(), stax.Dense(O))[2]
    with jax.enable_x64(True):
        infinite = Kernels(kernel_fn(x, None, "ntk"), kernel_fn(x_test, x, "ntk"))
        own, limit = [], []
        for width in WIDTHS:
            for seed in range(SEEDS):
                params = {name: jnp.asarray(value) for name, value in drawn(width, seed).items()}
                start, end = ((network(p, x), network(p, x_test)) for p in (params, trained(params)))
                own.append(distance(end, start, kernels(network, x, x_test, params=params, method="structured_jax")))
                limit.append(distance(end, start, infinite))
    return slope(own), slope(limit)


def in_torch() -> float:
    """The slope by a network's own kernel."""
    import torch

    x, x_test, y = (torch.tensor(each) for each in (problem().x_train, problem().x_test, problem().y))

    def network(params: Any, x: Any) -> Any:
        return torch.erf(x @ params["W"] / INPUTS**0.5) @ params["V"] / len(params["V"]) ** 0.5

    def one(width: int, seed: int) -> float:
        params = {name: torch.tensor(value).requires_grad_() for name, value in drawn(width, seed).items()}
        K = kernels(network, x, x_test, params=params, method="torch_func.jacobian_contraction")
        with torch.no_grad():
            start = network(params, x), network(params, x_test)
        optimiser = torch.optim.SGD(params.values(), lr=RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(params, x), y).backward()
            optimiser.step()
        with torch.no_grad():
            return distance((network(params, x), network(params, x_test)), start, K)

    return slope([one(width, seed) for width in WIDTHS for seed in range(SEEDS)])


@pytest.mark.skipif(find_spec("neural_tangents") is None, reason="neural-tangents is not installed")
def test_in_jax() -> None:
    own, limit = in_jax()
    assert own == pytest.approx(-1, abs=SLOPE)
    assert limit == pytest.approx(-0.5, abs=SLOPE)


@pytest.mark.skipif(find_spec("torch") is None, reason="the PyTorch half is not installed")
def test_in_torch() -> None:
    assert in_torch() == pytest.approx(-1, abs=SLOPE)
