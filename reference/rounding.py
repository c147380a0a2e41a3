"""What rounding does to a described network: the float64 tape with every value moved by up to a unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference.arithmetic import FLOAT64
from reference.tape import Node, PullBack, Tape


def moved(values: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Each entry times 1 + `unit`·r, r uniform in [−1, 1]; whole numbers, which any rounding keeps, stay."""
    if values.dtype.kind != "f" or not unit:
        return values
    factors = 1 + unit * rng.uniform(-1, 1, values.shape)
    return np.where(values == np.rint(values), values, values * factors)


class RoundingTape(Tape):
    """A float64 tape on which every result, and every cotangent, is moved as rounding to `unit` might move it.

    What is read under another shape alone is not rounded. Leaves are the caller's to move, once for all examples.
    """

    def __init__(self, unit: float, rng: np.random.Generator) -> None:
        super().__init__(FLOAT64)
        self.unit, self.rng = unit, rng

    def record(self, value: np.ndarray, *operands: tuple[Node, PullBack]) -> Node:
        if operands and not any(np.may_share_memory(value, node.value) for node, _ in operands):
            value = moved(value, self.unit, self.rng)
        return super().record(value, *((node, self._rounded(pull_back)) for node, pull_back in operands))

    def gradients(self, output: Node, cotangent: np.ndarray, leaves: Sequence[Node]) -> list[np.ndarray]:
        return [moved(gradient, self.unit, self.rng) for gradient in super().gradients(output, cotangent, leaves)]

    def _rounded(self, pull_back: PullBack) -> PullBack:
        def pull(cotangent: np.ndarray) -> np.ndarray:
            pulled = pull_back(cotangent)
            return pulled if np.may_share_memory(pulled, cotangent) else moved(pulled, self.unit, self.rng)

        return pull
