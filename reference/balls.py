"""Ball arithmetic for the tape, by python-flint (Johansson 2017, "Arb", IEEE Trans. Comput. 66).

A ball, midpoint ± radius, encloses the true number; every operation widens the radius by what it rounds. The working
precision is flint's context precision, see `precision`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import flint
import numpy as np

from reference.arithmetic import Arithmetic, KinkError, entrywise

arb = flint.arb


def precision(bits: int) -> AbstractContextManager[object]:
    """Work with that many bits inside, and with the former precision again afterwards."""
    return flint.ctx.workprec(bits)


def nearest_float(ball: flint.arb) -> float:
    """The float64 nearest to the midpoint (ties to even); flint's own conversion may truncate."""
    mantissa, exponent = (int(part) for part in ball.mid().man_exp())
    return float(mantissa << exponent) if exponent >= 0 else mantissa / (1 << -exponent)


def _relu(x: flint.arb) -> flint.arb:
    return x if _is_positive(x) else arb(0)


def _relu_derivative(x: flint.arb) -> flint.arb:
    return arb(1) if _is_positive(x) else arb(0)


def _is_positive(x: flint.arb) -> bool:
    if not (x > 0 or x < 0):
        raise KinkError(f"ReLU has no derivative at 0, and a pre-activation is {x}; move the input or the bias")
    return bool(x > 0)


def _normal_cdf(x: flint.arb) -> flint.arb:
    return (-x / arb(2).sqrt()).erfc() / 2


def _gelu_derivative(x: flint.arb) -> flint.arb:
    return _normal_cdf(x) + x * (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def _erf_derivative(x: flint.arb) -> flint.arb:
    return 2 * (-x * x).exp() / arb.pi().sqrt()


def _sinc_derivative(x: flint.arb) -> flint.arb:
    return arb(0) if x.is_zero() else (x.cos() - x.sinc()) / x


BALLS = Arithmetic(
    lift=entrywise(lambda value: arb(float(value)), object),
    number=arb,
    sqrt=lambda ball: ball.sqrt(),
    activations={
        "relu": (entrywise(_relu, object), entrywise(_relu_derivative, object)),
        "tanh": (entrywise(lambda x: x.tanh(), object), entrywise(lambda x: x.sech() ** 2, object)),
        "erf": (entrywise(lambda x: x.erf(), object), entrywise(_erf_derivative, object)),
        "gelu": (entrywise(lambda x: x * _normal_cdf(x), object), entrywise(_gelu_derivative, object)),
        "sin": (entrywise(lambda x: x.sin(), object), entrywise(lambda x: x.cos(), object)),
    },
    functions={
        "exp": (entrywise(lambda x: x.exp(), object), entrywise(lambda x: x.exp(), object)),
        "sqrt": (entrywise(lambda x: x.sqrt(), object), entrywise(lambda x: x.rsqrt() / 2, object)),
        "reciprocal": (entrywise(lambda x: 1 / x, object), entrywise(lambda x: -1 / x**2, object)),
        "cos": (entrywise(lambda x: x.cos(), object), entrywise(lambda x: -x.sin(), object)),
        "sinc": (entrywise(lambda x: x.sinc(), object), entrywise(_sinc_derivative, object)),
        "signed_square": (entrywise(lambda x: abs(x) * x, object), entrywise(lambda x: 2 * abs(x), object)),
    },
)


def lower(balls: np.ndarray) -> np.ndarray:
    """Lower ends of an array of balls, as exact balls."""
    return entrywise(lambda ball: ball.lower(), object)(balls)


def upper(balls: np.ndarray) -> np.ndarray:
    """Upper ends of an array of balls, as exact balls."""
    return entrywise(lambda ball: ball.upper(), object)(balls)


def radii(balls: np.ndarray) -> np.ndarray:
    """Radii of an array of balls, as exact balls."""
    return entrywise(lambda ball: ball.rad(), object)(balls)
