"""Other ways to the same outputs: neural-tangents' `predict`, integration over the parameters, and training itself.

Each returns train and test outputs of `problem()`. All but the first know the network and no kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from reference import tolerance
from studies.prediction import Kernels
from tests.studies.prediction.problems import Problem, network

Pair = tuple[np.ndarray, np.ndarray]


def neural_tangents_predict() -> Any:
    """Its module `predict`."""
    from impls.frameworks.jax.neural_tangents import load

    load()
    from neural_tangents import predict

    return predict


def by_neural_tangents(problem: Problem, t: Any, *, loss: Callable[..., Any] | None = None, ridge: float = 0.0,
                       absolute: bool = False, learning_rate: float = 1.0, momentum: float | None = None,
                       kernels: Kernels | None = None, trace_axes: tuple[int, ...] = ()) -> Pair:
    """`predict.gradient_descent_mse`, or of another loss or with momentum `predict.gradient_descent`; t=None is ∞.

    With a ridge its train outputs are those of another problem; as it says itself, they are asked for as test outputs.
    """
    import jax
    import jax.numpy as jnp

    predict = neural_tangents_predict()
    with jax.enable_x64(True):
        K = kernels or problem.kernels
        train, test_train, y = (jnp.asarray(each) for each in (K.train, K.test_train, problem.y))
        if loss is not None:
            fn = predict.gradient_descent(loss, train, y, learning_rate, momentum, trace_axes)
            return _arrays(fn(t, problem.f0, problem.f0_test, test_train))
        fn = predict.gradient_descent_mse(train, y, learning_rate, ridge, absolute, trace_axes)
        found = fn(t, problem.f0, problem.f0_test, test_train)
        if ridge:
            found = fn(t, problem.f0, problem.f0, train)[1], found[1]
        return _arrays(found)


@cache
def stax_kernels(problem: Problem) -> tuple[Any, Kernels, Kernels]:
    """A kernel function of neural-tangents', and its kernels "ntk" and "nngp" of the problem's examples."""
    import jax

    neural_tangents_predict()
    from neural_tangents import stax

    O = problem.y.shape[1]
    with jax.enable_x64(True):
        kernel_fn: Any = stax.serial(stax.Dense(16, 1.5, 0.1), stax.Erf(), stax.Dense(O, 1.5, 0.1))[2]
        pairs = _pairs(problem, kernel_fn)
        return (kernel_fn, Kernels(*(np.asarray(pair.ntk) for pair in pairs)),
                Kernels(*(np.asarray(pair.nngp) for pair in pairs)))


def _pairs(problem: Problem, kernel_fn: Any) -> list[Any]:
    x, x_test = problem.x_train, problem.x_test
    return [kernel_fn(*each, ("nngp", "ntk")) for each in ((x, None), (x_test, x), (x_test, None))]


def neural_tangents_ensemble(problem: Problem, kind: str, *, t: Any, ridge: float, absolute: bool,
                             on_train: bool = False) -> Any:
    """Mean and covariance by `predict.gradient_descent_mse_ensemble`."""
    import jax

    with jax.enable_x64(True):
        fn = neural_tangents_predict().gradient_descent_mse_ensemble(
            stax_kernels(problem)[0], jax.numpy.asarray(problem.x_train), jax.numpy.asarray(problem.y), diag_reg=ridge,
            diag_reg_absolute_scale=absolute)
        return fn(t, None if on_train else jax.numpy.asarray(problem.x_test), kind, compute_cov=True)


def neural_tangents_posterior(problem: Problem, kind: str, *, ridge: float, absolute: bool) -> Any:
    """Mean and covariance by `predict.gp_inference`."""
    import jax

    with jax.enable_x64(True):
        train, test_train, test = _pairs(problem, stax_kernels(problem)[0])
        fn = neural_tangents_predict().gp_inference(train, jax.numpy.asarray(problem.y), diag_reg=ridge,
                                                    diag_reg_absolute_scale=absolute)
        return fn(kind, test_train, test)


def by_parameters(problem: Problem, t: np.ndarray, gradient: Callable[[np.ndarray, np.ndarray], np.ndarray], *,
                  ridge: float = 0.0, friction: float | None = None) -> Pair:
    """dθ/dt = −Jᵀ ∂L/∂f − ridge θ, or with friction the second-order equation, by SciPy; θ is counted from θ₀."""
    P = problem.J.shape[-1]

    def slope(_: float, state: np.ndarray) -> np.ndarray:
        theta = state[:P]
        force = -np.einsum("na,nap->p", gradient(problem.f0 + problem.J @ theta, problem.y), problem.J) - ridge * theta
        return force if friction is None else np.concatenate([state[P:], force - friction * state[P:]])

    start = np.zeros(P if friction is None else 2 * P)
    found = solve_ivp(slope, (0, t.max()), start, "LSODA", t_eval=t, rtol=tolerance("float64"),
                      atol=tolerance("float64"))
    theta = found.y[:P].T
    return (problem.f0 + np.einsum("nap,tp->tna", problem.J, theta),
            problem.f0_test + np.einsum("nap,tp->tna", problem.J_test, theta))


def by_training_jax(problem: Problem, steps: int, loss: Callable[[Any, Any], Any], *, learning_rate: float,
                    momentum: float) -> Pair:
    """The linearised network by `optax.sgd`."""
    import jax
    import jax.numpy as jnp
    import optax

    with jax.enable_x64(True):
        at = {name: jnp.asarray(value) for name, value in problem.params.items()}

        def linear(params: Any, x: Any) -> Any:
            moved = jax.tree.map(jnp.subtract, params, at)
            f, along = jax.jvp(lambda p: network(p, jnp.asarray(x)), (at,), (moved,))
            return f + along

        optimiser = optax.sgd(learning_rate, momentum or None)
        descend = jax.grad(lambda params: loss(linear(params, problem.x_train), jnp.asarray(problem.y)))

        def step(_: int, carried: Any) -> Any:
            params, state = carried
            updates, state = optimiser.update(descend(params), state)
            return optax.apply_updates(params, updates), state

        params, _ = jax.jit(lambda: jax.lax.fori_loop(0, steps, step, (at, optimiser.init(at))))()
        return _arrays([linear(params, problem.x_train), linear(params, problem.x_test)])


def by_training_torch(problem: Problem, steps: int, loss: Callable[[Any, Any], Any], *, learning_rate: float,
                      momentum: float) -> Pair:
    """The linearised network by `torch.optim.SGD`."""
    import torch

    at = {name: torch.tensor(value) for name, value in problem.params.items()}
    params = {name: value.clone().requires_grad_() for name, value in at.items()}
    x_train, x_test, y = (torch.tensor(each) for each in (problem.x_train, problem.x_test, problem.y))

    def linear(x: torch.Tensor) -> torch.Tensor:
        moved = {name: params[name] - at[name] for name in at}
        f, along = torch.func.jvp(lambda p: network(p, x), (at,), (moved,))[:2]
        return f + along

    optimiser = torch.optim.SGD(params.values(), lr=learning_rate, momentum=momentum)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(linear(x_train), y).backward()
        optimiser.step()
    with torch.no_grad():
        return linear(x_train).numpy(), linear(x_test).numpy()


def _arrays(found: Any) -> Pair:
    train, test = found
    return np.asarray(train), np.asarray(test)
