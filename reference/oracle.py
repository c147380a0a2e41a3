"""The oracle: kernels in ball arithmetic, which enclose the true ones. Imports python-flint only when it proves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.arithmetic import KinkError
from reference.case import Case, InputError
from reference.jacobian import linearise
from reference.layered import Described

RADIUS_LIMIT = 2.0**-70
"""What a proved radius stays below, relative to √(K[n,n,a,a] K[m,m,b,b]): far below the 2⁻⁵³ of storing as float64."""

MOST_BITS = 1024


class ProofError(ArithmeticError):
    """The kernel could not be enclosed tightly enough."""


@dataclass(frozen=True, eq=False)
class Proof:
    """Balls that enclose the kernel of all examples, x1 then x2, with one another.

    `gram` is (N1 + N2, N1 + N2, O, O), of dtype object. `radius` is the largest radius over √(K[n,n,a,a] K[m,m,b,b]):
    relative to the scale of the comparison and not to the entry itself, which may well be 0 (two outputs of a linear
    model, say).
    """

    gram: np.ndarray
    n1: int
    bits: int
    radius: float

    @property
    def full(self) -> np.ndarray:
        """K(x1, x2)."""
        return self.gram[: self.n1, self.n1 :]

    @property
    def symmetric(self) -> np.ndarray:
        """K(x1, x1)."""
        return self.gram[: self.n1, : self.n1]

    @property
    def block2(self) -> np.ndarray:
        """K(x2, x2)[m, m]."""
        return np.array([self.gram[m, m] for m in range(self.n1, len(self.gram))], dtype=object)


def prove(case: Case, prec_bits: int = 128) -> Proof:
    """Enclose the kernel of a case of the described networks, starting with `prec_bits` bits and doubling where needed.

    Raises `KinkError` where an input sits on a kink of the activation, and `ProofError` where `MOST_BITS` bits do not
    bring the radius below `RADIUS_LIMIT`. flint's context precision is left as it was.
    """
    network = case.network
    if not isinstance(network, Described):
        raise InputError(f"the oracle proves the networks of reference, not {type(network).__name__} "
                         f"(case {case.name!r})")
    bits = prec_bits
    while True:
        try:
            return _prove(case, network, bits)
        except (KinkError, ProofError):
            if 2 * bits > MOST_BITS:
                raise
        bits *= 2


def _prove(case: Case, network: Described, bits: int) -> Proof:
    from reference import balls

    with balls.precision(bits):
        arrays = {name: balls.BALLS.lift(value) for name, value in {**case.params, **case.constants}.items()}
        examples = [("x1", n, x) for n, x in enumerate(case.x1)]
        examples += [] if case.x2 is None else [("x2", m, x) for m, x in enumerate(case.x2)]
        rows = [_jacobian(network, list(case.params), arrays, *example) for example in examples]
        n_outputs = len(rows[0])
        jacobian = np.concatenate(rows)
        matrix = jacobian @ jacobian.T
        radius = _relative_radius(matrix)
    if not radius < RADIUS_LIMIT:
        raise ProofError(f"case {case.name!r}: radius {radius:.3g} at {bits} bits is not below {RADIUS_LIMIT:.3g}")
    shape = (len(rows), n_outputs, len(rows), n_outputs)
    return Proof(matrix.reshape(shape).transpose(0, 2, 1, 3), len(case.x1), bits, radius)


def _jacobian(network: Described, params: list[str], arrays: dict[str, np.ndarray], what: str, index: int,
              x: np.ndarray) -> np.ndarray:
    from reference.balls import BALLS

    try:
        return linearise(network, BALLS, arrays, x).jacobian(params)
    except KinkError as kink:
        raise KinkError(f"example {index} of {what}, {kink}") from None


def _relative_radius(matrix: np.ndarray) -> float:
    """Largest radius over the product of the two norms; an upper bound. Infinite where a norm may be 0.

    A row whose norm is exactly 0 (a dead network without biases) has entries of exactly 0 and is left out.
    """
    from reference import balls

    squares = np.diag(matrix)
    alive = np.array([not square.is_zero() for square in squares])
    if not all(low > 0 for low in balls.lower(squares[alive])):
        return float("inf")
    norms = np.array([low.sqrt() for low in balls.lower(squares[alive])], dtype=object)
    ratios = balls.radii(matrix[np.ix_(alive, alive)]) / np.multiply.outer(norms, norms)
    bounds = [math.nextafter(float(ratio), math.inf) for ratio in balls.upper(ratios).flat if ratio > 0]
    return max(bounds, default=0.0)


def check_radii(gram: np.ndarray, what: str) -> None:
    """Raise `ProofError` unless every ball (N, N) is as tight as a proof's, relative to its two diagonal entries."""
    for (n, m), ball in np.ndenumerate(gram):
        squares: Any = gram[n, n] * gram[m, m]
        if not ball.is_finite() or not ball.rad() <= RADIUS_LIMIT * squares.lower().sqrt():
            raise ProofError(f"{what} is {ball} at {(n, m)}, too wide to tell")
