"""Every way of predicting beside every other way to the same outputs: what the tests assert and the table prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from studies.prediction import (
    CrossEntropy,
    Ensemble,
    Integration,
    Kernels,
    Linearised,
    Ridge,
    Squared,
    convert_time,
    heavy_ball,
)
from studies.prediction.clock import SquaredError
from studies.prediction.ensemble import Kind
from tests.studies.prediction.problems import AGREEMENT, M, N, O, apart, problem
from tests.studies.prediction.witnesses import (
    by_neural_tangents,
    by_parameters,
    by_training_jax,
    by_training_torch,
    neural_tangents_ensemble,
    neural_tangents_posterior,
    neural_tangents_predict,
    stax_kernels,
)

INTEGRATED = "integration over the parameters"
THEIRS = "neural_tangents.predict"
OPTAX = "training by optax.sgd"
SGD = "training by torch.optim.SGD"
MEMBERS = "members trained one by one"
WITNESSES = (THEIRS, INTEGRATED, OPTAX, SGD, MEMBERS)

NEEDS = {THEIRS: "neural_tangents", OPTAX: "optax", SGD: "torch"}
"""The package without which there is no such witness."""

THEIR_INTEGRATION = 1e-6
"""neural-tangents integrates by `jax.experimental.ode.odeint` at its own tolerance, 1.4e-8 a step."""

T = np.array([0.0, 0.03, 1.0, 30.0, 1000.0])
STEPS, RATE = 150, 0.2
LABELS = np.eye(O)[np.arange(N) % O]
CLASSES = problem().changed(y=LABELS)


@dataclass(frozen=True)
class Comparison:
    """`error()`: how far the prediction and the witness are apart, relative to the targets' size."""

    way: str
    witness: str
    error: Callable[[], float]
    allowed: float = AGREEMENT


def linearised(loss: SquaredError = "half_mean", **arguments: Any) -> Linearised:
    kernels = arguments.pop("kernels", problem().kernels)
    return Linearised(kernels, problem().y, loss=loss, **{**problem().start, **arguments})


def integration(gradient: Any = None, y: np.ndarray = LABELS, **arguments: Any) -> Integration:
    kernels = arguments.pop("kernels", problem().kernels)
    return Integration(kernels, y, gradient or CrossEntropy(), **{**problem().start, **arguments})


def mean_trace() -> float:
    return float(np.einsum("nnaa->", problem().kernels.train)) / (N * O)


def flow_as_theirs(t: Any, ridge: Ridge, solver: Any) -> float:
    due = by_neural_tangents(problem(), None if np.isinf(t).all() else t, ridge=ridge.value,
                             absolute=ridge.scale == "absolute")
    return apart(linearised(ridge=ridge, solver=solver).gradient_flow(t), due)


def flow_of_parameters(loss: SquaredError, ridge: Ridge) -> float:
    c = Squared(loss)(np.ones((N, O)), np.zeros((N, O)))[0, 0]
    rho = ridge.value * (mean_trace() if ridge.scale == "mean_trace" else 1)
    t = T[:4] / c / 10
    due = by_parameters(problem(), t, Squared(loss), ridge=c * rho)
    return apart(linearised(loss, ridge=ridge).gradient_flow(t), due)


def infinity_of_parameters(ridge: Ridge) -> float:
    """With a ridge, which ends at a time that can be waited for."""
    due = by_parameters(problem(), np.array([1e4]), Squared("half_sum"), ridge=ridge.value * mean_trace())
    return apart(linearised(ridge=ridge).gradient_flow(np.inf), [each[0] for each in due])


def shared_as_theirs() -> float:
    K = problem().kernels
    theta = Kernels(*(np.trace(each, axis1=2, axis2=3) / O for each in (K.train, K.test_train)))
    return apart(linearised(kernels=theta).gradient_flow(T),
                 by_neural_tangents(problem(), T, kernels=theta, trace_axes=(-1,)))


def shared_of_parameters() -> float:
    """Of a network with one kernel for all outputs: a linear one, f = x A. The flow of A needs no kernel."""
    A, x, x_test = problem().f0[:4], problem().x_train, problem().x_test
    J, J_test = (np.einsum("ni,ab->naib", each, np.eye(O)).reshape(len(each), O, -1) for each in (x, x_test))
    tensored = problem().changed(f0=x @ A, f0_test=x_test @ A, J=J, J_test=J_test)
    ours = Linearised(Kernels(x @ x.T, x_test @ x.T), problem().y, loss="sum", **tensored.start)
    return apart(ours.gradient_flow(T[:4]), by_parameters(tensored, T[:4], Squared("sum")))


def descent_in_torch(loss: Any, momentum: float) -> float:
    import torch

    rate = RATE * linearised(loss).max_learning_rate(momentum)
    due = by_training_torch(problem(), STEPS, torch.nn.MSELoss(reduction=loss), learning_rate=rate, momentum=momentum)
    return apart(linearised(loss).gradient_descent(STEPS, learning_rate=rate, momentum=momentum), due)


def descent_in_jax(loss: Any, momentum: float, solver: Any) -> float:
    import optax

    functions: dict[str, Any] = {"mean": lambda f, y: optax.losses.squared_error(f, y).mean(),
                                 "half_sum": lambda f, y: optax.losses.l2_loss(f, y).sum()}
    rate = RATE * linearised(loss).max_learning_rate(momentum)
    due = by_training_jax(problem(), STEPS, functions[loss], learning_rate=rate, momentum=momentum)
    return apart(linearised(loss, solver=solver).gradient_descent(STEPS, learning_rate=rate, momentum=momentum), due)


def largest_rate_as_theirs(momentum: float) -> float:
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        K = jnp.asarray(problem().kernels.train)
        due = float(neural_tangents_predict().max_learning_rate(K, momentum=momentum))
    return abs(linearised().max_learning_rate(momentum) / due - 1)


def cross_entropy_of_parameters(reduction: Any, friction: float | None, solver: str) -> float:
    gradient, t = CrossEntropy(reduction), np.array([0.0, 0.2, 3.0, 40.0])
    return apart(integration(gradient, friction=friction, solver=solver).at(t)[0],
                 by_parameters(CLASSES, t, gradient, friction=friction))


def squared_integrated(loss: SquaredError) -> float:
    t = T[:4] / 10
    return apart(integration(Squared(loss), problem().y).at(t)[0], by_parameters(problem(), t, Squared(loss)))


def cross_entropy_as_theirs(momentum: float | None) -> float:
    """On its clock: learning_rate·t, and with momentum √learning_rate·t."""
    import jax

    rate, steps = 0.05, np.array([1.0, 100.0, 700.0])
    due = by_neural_tangents(CLASSES, steps, loss=lambda f, y: -(jax.nn.log_softmax(f) * y).mean(), learning_rate=rate,
                             momentum=momentum)
    step, friction = (rate, None) if momentum is None else heavy_ball(rate, momentum)
    return apart(integration(CrossEntropy("mean_over_outputs"), friction=friction).at(step * steps)[0], due)


def ensemble_as_theirs(kind: Kind, ridge: Ridge, t: Any) -> float:
    """At finite times `gradient_descent_mse_ensemble`, at infinity `gp_inference`."""
    _, ntk, nngp = stax_kernels(problem())
    theirs = neural_tangents_posterior if np.isinf(t).all() else partial(neural_tangents_ensemble, t=t)
    due = theirs(problem(), kind, ridge=ridge.value, absolute=ridge.scale == "absolute")
    return apart(Ensemble(problem().y, loss="half_mean", ntk=ntk, nngp=nngp, ridge=ridge).at(t, kind), due)


def ensemble_on_train_as_theirs(kind: Kind) -> float:
    _, ntk, nngp = stax_kernels(problem())
    t = np.array([0.0, 0.5, 20.0])
    due = neural_tangents_ensemble(problem(), kind, t=t, ridge=0.0, absolute=False, on_train=True)
    ours = Ensemble(problem().y, loss="half_mean", ntk=Kernels(ntk.train), nngp=Kernels(nngp.train))
    return apart(ours.at(t, kind), due)


def features() -> tuple[np.ndarray, np.ndarray]:
    """Two sets of 2N features Φ of N train and M test examples."""
    first, second = (np.random.default_rng(seed).normal(size=(N + M, 2 * N)) for seed in (0, 1))
    return first, second


def gaussian_kernels() -> tuple[Kernels, Kernels]:
    """Those of functions Φ w with w ~ N(0, 1), shared by the outputs."""
    first, second = (Kernels(K[:N, :N], K[N:, :N], K[N:, N:]) for K in (each @ each.T for each in features()))
    return first, second


def ensemble_of_members(kind: Kind, ridge: Ridge, t: float) -> float:
    """Members are linear in w and in the noise of their targets, so that 2N + N unit vectors tell their covariance."""
    ntk, nngp = gaussian_kernels()
    prior, trained = {"ntk": (features()[1], ntk), "nngp": (features()[1], nngp), "ntkgp": (features()[0], ntk)}[kind]
    rho = ridge.value * (np.trace(trained.train) / N if ridge.scale == "mean_trace" else 1)
    y = np.concatenate([np.zeros((N, 2 * N)), 0 * np.eye(N) if kind == "ntk" else rho**0.5 * np.eye(N)], 1)
    f0 = np.concatenate([prior, np.zeros((len(prior), N))], 1)
    members = Linearised(trained, y, loss="half_sum", f0=f0[:N], f0_test=f0[N:], ridge=ridge).gradient_flow(t).test
    mean = Linearised(trained, problem().y, loss="half_sum", ridge=ridge).gradient_flow(t).test
    assert members is not None
    ours = Ensemble(problem().y, loss="half_sum", ntk=ntk, nngp=nngp, ridge=ridge).at(t, kind)
    return apart(ours, (mean, members @ members.T))


def clock_of_theirs() -> float:
    """equintk's time, of the sum, converted to theirs, of the mean."""
    t = convert_time(T / (N * O), of="half_sum", to="half_mean", n_targets=N * O)
    return apart(linearised("half_sum").gradient_flow(T / (N * O)), by_neural_tangents(problem(), t))


NONE, ABSOLUTE, RELATIVE = Ridge(0.0, "absolute"), Ridge(0.3, "absolute"), Ridge(0.05, "mean_trace")
RIDGES = (("", NONE), (", absolute ridge", ABSOLUTE), (", ridge relative to the mean trace", RELATIVE))
EIGEN, CHOLESKY, CG = "eigendecomposition", "cholesky", "conjugate_gradients"


def _comparisons() -> list[Comparison]:
    found = []

    def add(way: str, witness: str, function: Callable[..., float], *arguments: Any,
            allowed: float = AGREEMENT) -> None:
        found.append(Comparison(way, witness, partial(function, *arguments), allowed))

    for said, ridge in RIDGES:
        add(f"gradient flow{said}", THEIRS, flow_as_theirs, T, ridge, EIGEN)
        add(f"gradient flow{said}", INTEGRATED, flow_of_parameters, "half_mean", ridge)
        add(f"t = ∞{said}, Cholesky", THEIRS, flow_as_theirs, np.inf, ridge, CHOLESKY)
    add("t = ∞, eigendecomposition", THEIRS, flow_as_theirs, np.inf, NONE, EIGEN)
    add("t = ∞, conjugate gradients", THEIRS, flow_as_theirs, np.inf, NONE, CG)
    add("t = ∞, ridge relative to the mean trace, Cholesky", INTEGRATED, infinity_of_parameters, RELATIVE)
    add("gradient flow, Lanczos", THEIRS, flow_as_theirs, T, NONE, CG)
    for loss in ("half_sum", "mean", "sum"):
        add(f"gradient flow on the loss {loss}", INTEGRATED, flow_of_parameters, loss, NONE)
    add("gradient flow on the loss half_sum", THEIRS, clock_of_theirs)
    add("gradient flow, shared kernel", THEIRS, shared_as_theirs)
    add("gradient flow, shared kernel", INTEGRATED, shared_of_parameters)
    for said, momentum in (("", 0.0), (" with momentum", 0.9)):
        add(f"gradient descent{said}", OPTAX, descent_in_jax, "mean", momentum, EIGEN)
        add(f"gradient descent{said}", SGD, descent_in_torch, "mean", momentum)
        add(f"gradient descent{said}, Lanczos", OPTAX, descent_in_jax, "half_sum", momentum, CG)
        add(f"gradient descent{said} on the loss sum", SGD, descent_in_torch, "sum", momentum)
        add(f"largest learning rate{said}", THEIRS, largest_rate_as_theirs, momentum)
    add("cross-entropy, integrated", THEIRS, cross_entropy_as_theirs, None, allowed=THEIR_INTEGRATION)
    add("cross-entropy with momentum, integrated", THEIRS, cross_entropy_as_theirs, 0.9, allowed=THEIR_INTEGRATION)
    for reduction, solver in (("mean", "DOP853"), ("sum", "LSODA"), ("mean_over_outputs", "DOP853")):
        said = "" if reduction == "mean" else f" ({reduction}, {solver})"
        add(f"cross-entropy{said}, integrated", INTEGRATED, cross_entropy_of_parameters, reduction, None, solver)
    add("cross-entropy with momentum, integrated", INTEGRATED, cross_entropy_of_parameters, "mean", 0.3, "DOP853")
    add("squared error, integrated", INTEGRATED, squared_integrated, "half_sum")
    for kind in ("ntk", "nngp"):
        for said, ridge in RIDGES:
            add(f"ensemble, {kind}{said}", THEIRS, ensemble_as_theirs, kind, ridge, np.array([0.0, 0.5, 20.0]))
        add(f"ensemble on the training examples, {kind}", THEIRS, ensemble_on_train_as_theirs, kind)
    for kind in ("ntk", "nngp", "ntkgp"):
        for said, ridge in RIDGES:
            add(f"posterior at ∞, {kind}{said}", THEIRS, ensemble_as_theirs, kind, ridge, np.inf)
            add(f"posterior at ∞, {kind}{said}", MEMBERS, ensemble_of_members, kind, ridge, np.inf)
            add(f"ensemble, {kind}{said}", MEMBERS, ensemble_of_members, kind, ridge, 0.5)
    return found


COMPARISONS = _comparisons()
