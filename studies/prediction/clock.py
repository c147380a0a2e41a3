"""What is minimised, and therefore what a unit of training time is.

Under gradient flow dθ/dt = −∂L/∂θ, the outputs of a network with kernel K obey df/dt = −K ∂L/∂f. For the squared error
∂L/∂f = c (f − y), and c, hence the speed, depends on how L is written, with N examples of O outputs:

| `loss`      | L                 | c       | whose it is                                                          |
|-------------|-------------------|---------|----------------------------------------------------------------------|
| `half_mean` | Σ(f−y)² / (2·N·O) | 1/(N·O) | neural-tangents' `predict`                                           |
| `half_sum`  | Σ(f−y)² / 2       | 1       | Jacot et al. 2018, Lee et al. 2019; equintk                          |
| `mean`      | Σ(f−y)² / (N·O)   | 2/(N·O) | `torch.nn.MSELoss()`, `optax.losses.squared_error(f, y).mean()`      |
| `sum`       | Σ(f−y)²           | 2       | `torch.nn.MSELoss(reduction="sum")`                                  |

A step of gradient descent with learning rate η moves t by η. With momentum m, velocities add to 1/(1−m) gradients, and
after many small steps t is η·steps/(1−m) (Qian 1999, On the momentum term in gradient descent learning algorithms).
"""

from __future__ import annotations

from numbers import Real
from typing import Literal, TypeVar, get_args

import numpy as np

from reference import InputError
from studies.matrix import as_real

SquaredError = Literal["half_mean", "half_sum", "mean", "sum"]
Number = TypeVar("Number", float, np.ndarray)


def speed(loss: SquaredError, n_targets: int) -> float:
    """c in ∂L/∂f = c (f − y), with N·O targets."""
    if loss not in get_args(SquaredError):
        raise InputError(f"loss={loss!r} is not one of {', '.join(get_args(SquaredError))}")
    if n_targets < 1:
        raise InputError(f"n_targets is N·O, at least 1, got {n_targets}")
    return (2.0 if loss in ("mean", "sum") else 1.0) / (n_targets if loss in ("half_mean", "mean") else 1)


def convert_time(t: Number, *, of: SquaredError, to: SquaredError, n_targets: int) -> Number:
    """The time at which training on the loss `to` is where training on `of` is at t; so too for learning rates."""
    return t * (speed(of, n_targets) / speed(to, n_targets))


def time_of_steps(steps: Number, *, learning_rate: float, momentum: float = 0.0) -> Number:
    """t of gradient flow after steps of gradient descent on the same loss, in the limit of small learning rates."""
    check_descent(learning_rate, momentum)
    return steps * (learning_rate / (1 - momentum))


def steps_of_time(t: Number, *, learning_rate: float, momentum: float = 0.0) -> Number:
    """The inverse of `time_of_steps`; not rounded."""
    check_descent(learning_rate, momentum)
    return t * ((1 - momentum) / learning_rate)


def heavy_ball(learning_rate: float, momentum: float) -> tuple[float, float]:
    """(time of a step, friction μ) of f'' + μ f' = −K ∂L/∂f, of which steps with momentum are a discretisation: √η and
    (1 − m)/√η. Neural-tangents' `gradient_descent` has this clock where momentum is given."""
    check_descent(learning_rate, momentum)
    step = learning_rate**0.5
    return step, (1 - momentum) / step


def check_descent(learning_rate: float, momentum: float) -> None:
    """Raise `InputError` for a learning rate or a momentum that is none."""
    if not (isinstance(learning_rate, Real) and 0 < learning_rate < np.inf):
        raise InputError(f"learning_rate must be a positive number, got {learning_rate!r}")
    if not (isinstance(momentum, Real) and 0 <= momentum < 1):
        raise InputError(f"momentum must be at least 0 and less than 1, got {momentum!r}")


def times(t: float | np.ndarray, what: str = "t") -> np.ndarray:
    """t as an array of its own shape. Raises `InputError` for t < 0 and NaN."""
    array = as_real(t, what).astype(np.float64, copy=False)
    if array.size == 0:
        raise InputError(f"{what} is empty; give at least one time")
    if not (array >= 0).all():
        raise InputError(f"{what} must be at least 0 (infinity allowed), got {array[~(array >= 0)].flat[0]}")
    return array
