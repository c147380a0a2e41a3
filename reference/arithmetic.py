"""Two arithmetics for the tape: what it needs of numbers, and float64's answer. `reference.balls` has the other one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reference.case import InputError
from reference.networks import Activation

Elementwise = Callable[[np.ndarray], np.ndarray]

Function = Literal["exp", "sqrt", "reciprocal", "cos", "sinc", "signed_square"]
"""``"sinc"`` is sin(x)/x, and ``"signed_square"`` |x| x, whose derivative 2|x| exists everywhere."""


class KinkError(InputError):
    """An input sits on a kink of an activation (ReLU at 0), where the network has no derivative."""


@dataclass(frozen=True)
class Arithmetic:
    """Arrays of one kind of number.

    `lift` turns a float64 array into such an array, exactly; `number` does so with one float; `sqrt` takes such a
    number; `activations` has each activation with its derivative, `functions` further functions of one number.
    """

    lift: Callable[[np.ndarray], np.ndarray]
    number: Callable[[float], Any]
    sqrt: Callable[[Any], Any]
    activations: Mapping[Activation, tuple[Elementwise, Elementwise]]
    functions: Mapping[Function, tuple[Elementwise, Elementwise]]


def entrywise(function: Callable[[Any], Any], dtype: type) -> Elementwise:
    """A function of one number, applied to each entry of an array; the result has that dtype."""
    on_objects = np.frompyfunc(function, 1, 1)
    return lambda array: np.asarray(on_objects(array)).astype(dtype, copy=False)


_erf, _erfc = entrywise(math.erf, float), entrywise(math.erfc, float)


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * _erfc(-x / math.sqrt(2)) / 2


def _gelu_derivative(x: np.ndarray) -> np.ndarray:
    return _erfc(-x / math.sqrt(2)) / 2 + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _sinc(x: np.ndarray) -> np.ndarray:
    return np.sinc(x / math.pi)


def _sinc_derivative(x: np.ndarray) -> np.ndarray:
    nonzero = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 0.0, (np.cos(nonzero) - _sinc(nonzero)) / nonzero)


# The derivative of ReLU at 0 is taken as 0, as JAX and PyTorch do; only the ball arithmetic refuses such inputs.
FLOAT64 = Arithmetic(
    lift=lambda values: np.array(values, dtype=np.float64),
    number=float,
    sqrt=math.sqrt,
    activations={
        "relu": (lambda x: np.maximum(x, 0.0), lambda x: (x > 0).astype(np.float64)),
        "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
        "erf": (_erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-(x**2))),
        "gelu": (_gelu, _gelu_derivative),
        "sin": (np.sin, np.cos),
    },
    functions={
        "exp": (np.exp, np.exp),
        "sqrt": (np.sqrt, lambda x: 1 / (2 * np.sqrt(x))),
        "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2),
        "cos": (np.cos, lambda x: -np.sin(x)),
        "sinc": (_sinc, _sinc_derivative),
        "signed_square": (lambda x: np.abs(x) * x, lambda x: 2 * np.abs(x)),
    },
)
