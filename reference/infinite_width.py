"""The kernels of the infinitely wide network, in ball arithmetic: what limit methods are held to.

With every hidden width, or number of channels, going to infinity in the NTK parameterization, the kernel tends to
Θ ⊗ I_O (Jacot et al. 2018, theorem 1; with convolutions Arora et al. 2019, section 4). Layer by layer, with V the
covariance of what enters a layer, averaged over its inputs, and T the kernel that comes with it (0 for the examples):

    Σ = W_std² V + b_std²,   Θ = Σ + W_std² T,   V' = E φ(u)φ(v),   T' = Θ E φ'(u)φ'(v),   (u, v) ~ N(0, Σ),

and Σ of the last layer is the NNGP kernel, of every output by itself: Σ ⊗ I_O (Lee et al. 2018; Matthews et al. 2018).
It is that of the standard parameterization too, whose networks are the same random functions. A convolution or pooling
averages V and T over its window, between all pairs of pixels. The two expectations are closed forms for ReLU, erf, sin
and the exact GELU; tanh has none. They are evaluated in balls, which enclose the true numbers also where float64 loses
half its digits: ReLU, where two examples are parallel.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from reference.case import Case, InputError, Quantity
from reference.expected import Expected
from reference.networks import MLP, Activation, Conv, ConvNet, Network
from reference.oracle import check_radii
from reference.windows import window_indices

BITS = 320

Ball = Any
"""`flint.arb`; python-flint is imported only to prove."""

Moments = tuple[Ball, Ball]
"""E φ(u)φ(v) and E φ'(u)φ'(v) for Gaussian u, v of these variances and this covariance."""


def has_limit(network: Network, quantity: Quantity = "ntk") -> bool:
    """Whether `infinite_width` knows the kernel: in the standard parameterization the NTK grows with the width."""
    return (isinstance(network, MLP | ConvNet) and network.activation in _MOMENTS
            and (quantity == "nngp" or (quantity == "ntk" and network.parameterization == "ntk")))


def infinite_width(case: Case, quantity: Quantity = "ntk") -> Expected:
    """The limit for the examples of a case, Θ ⊗ I_O or Σ ⊗ I_O; hidden widths and parameters do not enter.

    Each entry is the float64 nearest to a number proved to be within 2⁻⁷⁰ of the true one, relative to
    √(Θ[n,n] Θ[m,m]). Raises `InputError` for a network that has no limit in closed form, and `ProofError` where the
    number is not defined (ReLU without biases at an example of zeros).
    """
    from reference import balls

    network = case.network
    if not isinstance(network, MLP | ConvNet) or not has_limit(network, quantity):
        raise InputError(f"case {case.name!r}: no infinite-width kernel in closed form is known for {network} "
                         f"as {quantity!r}; there is an ntk in the NTK parameterization, and an nngp, for "
                         f"{', '.join(_MOMENTS)}")
    x = case.x1 if case.x2 is None else np.concatenate([case.x1, case.x2])
    with balls.precision(BITS):
        covariance, tangent = _kernels(network, balls.BALLS.lift(x))
        limit = covariance if quantity == "nngp" else tangent
        check_radii(limit, f"case {case.name!r}: the infinite-width kernel")
        values = np.vectorize(balls.nearest_float, otypes=[np.float64])(limit)
    n1 = len(case.x1)
    columns = slice(0, n1) if case.x2 is None else slice(n1, None)
    full = values[:, :, None, None] * np.eye(network.n_outputs)
    blocks = np.einsum("nnab->nab", full)
    return Expected(full[:n1, columns].copy(), blocks[:n1].copy(), blocks[columns].copy(), "infinite width, proved")


def _kernels(network: MLP | ConvNet, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ and Θ of one output, (N, N). Covariances are (N, pixels, N, pixels); an MLP has one pixel."""
    images = x.reshape(*x.shape[:2], -1)  # (N, channels, pixels)
    covariance = np.tensordot(images, images, (1, 1)) / images.shape[1]
    tangent = covariance * 0
    moments = np.frompyfunc(_MOMENTS[network.activation], 3, 2)
    for i, gathered in enumerate(_layers(network)):
        if i > 0:
            own = np.einsum("npnp->np", covariance)
            covariance, slopes = moments(own[:, :, None, None], own[None, None], covariance)
            tangent = tangent * slopes
        covariance, tangent = gathered(covariance), gathered(tangent)
        covariance = network.W_std**2 * covariance + (network.b_std**2 if network.bias else 0)
        tangent = covariance + network.W_std**2 * tangent
    return covariance[:, 0, :, 0], tangent[:, 0, :, 0]


Gather = Callable[[np.ndarray], np.ndarray]
"""From the covariance of the activations to its average over what an output of the next layer sees."""


def _layers(network: MLP | ConvNet) -> list[Gather]:
    if isinstance(network, MLP):
        return [lambda covariance: covariance] * network.n_layers
    gathers: list[Gather] = []
    pool: Gather = lambda covariance: covariance  # noqa: E731  (of the convolution before)
    for conv, (_, height, width) in zip(network.convs, network.feature_shapes(), strict=False):
        gathers.append(_after(pool, _same_place(window_indices((1, height, width), conv.kernel, conv.stride,
                                                               conv.padding))))
        pool = _pooling(conv, height, width)
    head = _all_pairs if network.head == "global" else _own_pairs
    return [*gathers, _after(pool, head), *([lambda covariance: covariance] * (len(network.dense) - 1))]


def _after(first: Gather, second: Gather) -> Gather:
    return lambda covariance: second(first(covariance))


def _same_place(windows: np.ndarray) -> Gather:
    """The mean over the places of the window, the same in both images; -1 is the padding, of zeros."""
    return lambda covariance: np.sum([_picked(covariance, place, place) for place in windows], axis=0) / len(windows)


def _pooling(conv: Conv, height: int, width: int) -> Gather:
    """The mean over all pairs of places of the two windows."""
    if conv.pool is None:
        return lambda covariance: covariance
    windows = window_indices((1, *conv.convolved_shape(height, width)), conv.pool, conv.pool, (0, 0))
    pairs = list(product(windows, windows))
    return lambda covariance: np.sum([_picked(covariance, *pair) for pair in pairs], axis=0) / len(pairs)


def _picked(covariance: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    inside = (rows >= 0)[:, None, None] & (columns >= 0)
    return np.where(inside, covariance[:, rows][..., columns], covariance[:1, :1, :1, :1] * 0)


def _own_pairs(covariance: np.ndarray) -> np.ndarray:
    """Each pixel with the same one of the other image: the next layer has a weight for each pixel."""
    return np.einsum("npmp->nm", covariance)[:, None, :, None] / covariance.shape[1]


def _all_pairs(covariance: np.ndarray) -> np.ndarray:
    return covariance.sum((1, 3), keepdims=True) / covariance.shape[1]**2


def _relu(own1: Ball, own2: Ball, cross: Ball) -> Moments:
    """Cho & Saul 2009, equations 3 and 6. Both grow with the cosine, so that the ends of its ball give theirs."""
    from reference.balls import arb

    norms = (own1 * own2).sqrt()
    cosine = cross / norms
    ends = [_relu_at(cosine.lower().max(arb(-1))), _relu_at(cosine.upper().min(arb(1)))]
    value, slope = (low.union(high) for low, high in zip(*ends, strict=True))
    return norms * value, slope


def _relu_at(cosine: Ball) -> Moments:
    from reference.balls import arb

    rest = arb.pi() - cosine.acos()
    return ((1 - cosine**2).sqrt() + rest * cosine) / (2 * arb.pi()), rest / (2 * arb.pi())


def _erf(own1: Ball, own2: Ball, cross: Ball) -> Moments:
    """Williams 1997, equation 11, and its derivative with respect to `cross`."""
    from reference.balls import arb

    scale = (1 + 2 * own1) * (1 + 2 * own2)
    return 2 * (2 * cross / scale.sqrt()).asin() / arb.pi(), 4 / (arb.pi() * (scale - 4 * cross**2).sqrt())


def _sin(own1: Ball, own2: Ball, cross: Ball) -> Moments:
    damping = (-(own1 + own2) / 2).exp()
    return damping * cross.sinh(), damping * cross.cosh()


def _gelu(own1: Ball, own2: Ball, cross: Ball) -> Moments:
    """E uv Φ(u)Φ(v) = E uv [s > 0][t > 0] with s = u − z, t = v − z' of two more normal variables: (s, t) ~ N(0, S),
    S = K + 1. Given s and t, uv has the mean (A (s, t))₁ (A (s, t))₂ + A₁₂ with A = K S⁻¹, and what is left are the
    second moments of a Gaussian on a quadrant. The slope is the derivative with respect to `cross` (Price 1958)."""
    from reference.balls import arb

    s1, s2 = 1 + own1, 1 + own2
    determinant = s1 * s2 - cross**2
    sine, cosine = (determinant / (s1 * s2)).sqrt(), cross / (s1 * s2).sqrt()
    rest = arb.pi() - cosine.acos()
    # A = 1 − S⁻¹, and E [s > 0][t > 0] (1, s², t², st), times 2π.
    a11, a22, a12 = 1 - s2 / determinant, 1 - s1 / determinant, cross / determinant
    ss, tt = s1 * (rest + sine * cosine), s2 * (rest + sine * cosine)
    st = (s1 * s2).sqrt() * (sine + rest * cosine)
    value = a12 * rest + a11 * a12 * ss + a22 * a12 * tt + (a11 * a22 + a12**2) * st
    # E Φ(u)Φ(v), E Φ(u) v ϕ(v) and the other way round, E uϕ(u) vϕ(v).
    slope = rest + (cross / s1 + cross / s2 + a12) / determinant.sqrt()
    return value / (2 * arb.pi()), slope / (2 * arb.pi())


_MOMENTS: dict[Activation, Callable[[Ball, Ball, Ball], Moments]] = {
    "relu": _relu, "erf": _erf, "gelu": _gelu, "sin": _sin}
