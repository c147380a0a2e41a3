"""The rate at which finite widths approach the kernel of infinite width: 1/width, and the limit is the kernel itself.

The kernel of an MLP with n hidden units a layer in the NTK parameterization, averaged over its parameters, is
K + c/n + O(1/n²) (Hanin & Nica 2020; c = 0 for one hidden layer, hence four here). `N_DRAWS` at
each of four widths say two things of a claimed limit K:

- the average extrapolated to infinite width, by a fit of K̂ + c/n + d/n², is K: in every entry, and on the whole;
- the distance of the average from K, along a direction that one half of the draws chooses and the other half measures,
  falls as n to the power −p, with 1 in the confidence band of p and neither ½ nor 2.

The draws are computed here for all cases together, from the same random weights, by the layers' own formula and not by
the reference's tape, which tests/planted/test_gate_limit.py holds it to. They are seeded, so the verdict does not vary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from reference import MLP, Case, random_case
from reference.networks import Activation
from reference.tolerances import LIMIT_RATE_ALLOWANCE, LIMIT_RATE_BAND, LIMIT_RATE_STANDARD_ERRORS

WIDTHS = (4, 8, 16, 32)
N_DRAWS = 64_000
"""At each width."""

_BATCH = 250
_HIDDEN = 4
_N_EXAMPLES = 3
_ACTIVATIONS: tuple[Activation, ...] = ("relu", "erf", "gelu")
_RATES = np.linspace(-1, 4, 1001)

Pair = tuple[np.ndarray, np.ndarray]
"""An activation and its derivative."""


@cache
def rate_cases() -> tuple[Case, ...]:
    """ReLU, erf and GELU with and without biases, on the same examples."""
    x = random_case("rate", MLP((3, 2)), _N_EXAMPLES, None).x1
    networks = {f"rate_{activation}{'' if bias else '_no_bias'}":
                MLP((3, *[5] * _HIDDEN, 2), activation, bias, parameterization="ntk", W_std=1.4, b_std=0.75)
                for activation in _ACTIVATIONS for bias in (True, False)}
    return tuple(Case(name, network, random_case(name, network, 1, None).params, x)
                 for name, network in networks.items())


def rate_fault(kernel: np.ndarray, name: str) -> str:
    """What is wrong with the limit `kernel` of one output (N, N) of a case of `rate_cases`; empty if nothing is."""
    return _off_the_extrapolation(kernel, draws(name)) or _rate_fault(kernel, draws(name))


def _off_the_extrapolation(kernel: np.ndarray, drawn: np.ndarray) -> str:
    """`drawn` is (widths, draws, N, N). The projection on the kernel itself, the sharpest for a factor, goes along."""
    values = np.concatenate([drawn.reshape(*drawn.shape[:2], -1), (drawn * kernel).sum((2, 3))[..., None]], axis=2)
    due = np.append(kernel.ravel(), (kernel**2).sum())
    mean, error = values.mean(1), values.std(1, ddof=1) / np.sqrt(N_DRAWS)
    powers = (1 / np.array(WIDTHS))[:, None] ** np.arange(3)
    fits = [_intercept(powers, *column) for column in zip(mean.T, error.T, strict=True)]
    extrapolated, uncertainty = np.array(fits).T
    z = np.abs(extrapolated - due) / uncertainty
    worst = int(z.argmax())
    if z[worst] <= LIMIT_RATE_STANDARD_ERRORS:
        return ""
    where = "on the whole"
    if worst < kernel.size:
        where = f"at {tuple(int(i) for i in np.unravel_index(worst, kernel.shape))}"
    return (f"not the limit: {where} it is {due[worst] / extrapolated[worst]:.4f} times what finite widths tend to, "
            f"{z[worst]:.3g} standard errors off, {LIMIT_RATE_STANDARD_ERRORS} are allowed")


def _intercept(powers: np.ndarray, mean: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """The value at infinite width in a weighted fit, and its standard error."""
    weighted = powers / error[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    return float((covariance @ (weighted.T @ (mean / error)))[0]), float(np.sqrt(covariance[0, 0]))


def _rate_fault(kernel: np.ndarray, drawn: np.ndarray) -> str:
    low, high = rate_band(kernel, drawn)
    ok = low - LIMIT_RATE_ALLOWANCE <= 1 <= high + LIMIT_RATE_ALLOWANCE and low > 0.5 and high < 2
    return "" if ok else (f"the average at finite width n is off as n to the power −p, p from {low:.3g} to {high:.3g}; "
                          "1 is due, and ½ and 2 are to be told from it")


def rate_band(kernel: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """The rates p for which C n^−p, with the best C, is within `LIMIT_RATE_BAND` standard errors of the distances."""
    chooses, measures = drawn[:, ::2], drawn[:, 1::2]
    widths = np.array(WIDTHS, dtype=np.float64)
    variance = (chooses.var(1) * widths[:, None, None]).mean(0)  # falls as 1/width
    direction = ((chooses.mean(1) - kernel) * widths[:, None, None]).mean(0) / variance
    along = ((measures - kernel) * direction).sum((2, 3))
    distance, error = along.mean(1), along.std(1, ddof=1) / np.sqrt(along.shape[1])
    shapes = widths ** -_RATES[:, None] / error
    scales = (shapes @ (distance / error)) / (shapes**2).sum(1)
    misfit = ((distance / error - scales[:, None] * shapes) ** 2).sum(1)
    inside = _RATES[misfit <= misfit.min() + LIMIT_RATE_BAND**2]
    return float(inside.min()), float(inside.max())


def draws(name: str) -> np.ndarray:
    """Kernels of one output at each width: (widths, draws, N, N)."""
    return _all_draws()[name].astype(np.float64)


@cache
def _all_draws() -> dict[str, np.ndarray]:
    """In float32, whose rounding is nothing beside the standard errors: half the time and memory."""
    rng, of = np.random.default_rng(0), rate_cases()

    def batch(width: int) -> np.ndarray:
        weights, biases = draw(of[0], width, _BATCH, rng)
        return kernels(of, [array.astype(np.float32) for array in weights],
                       [array.astype(np.float32) for array in biases])

    at_width = [np.concatenate([batch(width) for _ in range(N_DRAWS // _BATCH)], axis=1) for width in WIDTHS]
    return {case.name: np.array(each) for case, *each in zip(of, *at_width, strict=True)}


def draw(of: Case, width: int, n: int, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (n, fan_in, fan_out) and biases (n, 1, fan_out) of every layer, N(0, 1), with one output."""
    fans = [of.x1.shape[1], *[width] * _HIDDEN, 1]
    return ([rng.standard_normal((n, fan_in, fan_out)) for fan_in, fan_out in pairwise(fans)],
            [rng.standard_normal((n, 1, fan_out)) for fan_out in fans[1:]])


def kernels(of: Sequence[Case], weights: list[np.ndarray], biases: list[np.ndarray]) -> np.ndarray:
    """Σ over layers of (a·a'·scale² + b_std²)(g·g'), a what enters the layer and g what comes back to it.

    For all the cases, which differ in activation and biases alone and share their matrix products: (cases, n, N, N).
    """
    networks = [case.network for case in of if isinstance(case.network, MLP)]
    scales = [_shared_W_std(networks) / math.sqrt(weight.shape[1]) for weight in weights]
    b_stds = [network.b_std if network.bias else 0.0 for network in networks]
    n, n_cases, n_examples = len(weights[0]), len(of), len(of[0].x1)
    x = np.tile(of[0].x1.astype(weights[0].dtype), (n, n_cases, 1))
    entering, slopes = [x], []
    for weight, bias, scale in zip(weights[:-1], biases[:-1], scales[:-1], strict=True):
        before = (scale * (entering[-1] @ weight)).reshape(n, n_cases, n_examples, -1)
        after, slope = np.empty_like(before), np.empty_like(before)
        for i, (network, b_std) in enumerate(zip(networks, b_stds, strict=True)):
            after[:, i], slope[:, i] = _FUNCTIONS[network.activation](before[:, i] + b_std * bias)
        entering.append(after.reshape(n, n_cases * n_examples, -1))
        slopes.append(slope.reshape(entering[-1].shape))
    back, squares = np.ones((*x.shape[:2], 1), x.dtype), np.square(b_stds, dtype=x.dtype)[:, None, None]
    total = np.zeros((n, n_cases, n_examples, n_examples), x.dtype)
    for i in reversed(range(len(weights))):
        total += (_grams(scales[i] * entering[i], n_cases) + squares) * _grams(back, n_cases)
        if i > 0:
            back = scales[i] * (back @ weights[i].swapaxes(1, 2)) * slopes[i - 1]
    return total.swapaxes(0, 1)


def _shared_W_std(networks: Sequence[Any]) -> float:
    (shared,) = {network.W_std for network in networks}
    return shared


def _grams(vectors: np.ndarray, n_cases: int) -> np.ndarray:
    """Of vectors (n, cases · N, ·) the products of those of one case: (n, cases, N, N)."""
    products = vectors @ vectors.swapaxes(1, 2)
    return np.einsum("ncicj->ncij", products.reshape(len(vectors), n_cases, -1, n_cases, vectors.shape[1] // n_cases))


def _gaussian(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2))


def _erf(x: np.ndarray, gaussian: np.ndarray) -> np.ndarray:
    """To 1.5e-7, which is nothing beside the standard errors (Abramowitz & Stegun 1964, 7.1.26); `gaussian` of x."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.copysign(1 - series * gaussian, x)


def relu(x: np.ndarray) -> Pair:
    return np.maximum(x, 0), (x > 0).astype(x.dtype)


def erf(x: np.ndarray) -> Pair:
    gaussian = _gaussian(x)
    return _erf(x, gaussian), 2 / math.sqrt(math.pi) * gaussian


def gelu(x: np.ndarray) -> Pair:
    scaled = x / math.sqrt(2)
    gaussian = _gaussian(scaled)
    cdf = (1 + _erf(scaled, gaussian)) / 2
    return x * cdf, cdf + x * gaussian / math.sqrt(2 * math.pi)


_FUNCTIONS: dict[Activation, Callable[[np.ndarray], Pair]] = {"relu": relu, "erf": erf, "gelu": gelu}
