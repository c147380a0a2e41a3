"""The numbers of a rectangle of a kernel, from factors that are kept for as long as there is room for them.

A structured engine makes the factors of a batch of examples once, however many other batches these then meet. A method
without such factors computes each rectangle by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from impls.frameworks.arrays import to_numpy
from impls.frameworks.faces import face
from impls.given.batches import OwnBatches
from impls.given.network import OwnNetwork
from impls.tiles.plan import Region

Layout = tuple[int, ...]
"""Axes of a kernel, (rows, columns, …), in the order in which they lie in memory."""


class Between(Protocol):
    """`impls.structured.jax.between.Between`, that of PyTorch, or `ByPairs`."""

    @property
    def layout(self) -> Layout:
        """Of what `kernel` gives."""
        ...

    def factors(self, x: Any) -> Any:
        """What `kernel` needs of a batch; held until it is let go."""
        ...

    def kernel(self, left: Any, right: Any | None = None) -> np.ndarray:
        """(N1, N2, …) of two batches, on the host; `right` None: of one with itself."""
        ...


class ByPairs:
    """Of a method that has no factors: of each batch its examples are kept."""

    def __init__(self, kernel: Callable[[Any, Any], Any], ndim: int) -> None:
        self.of_two, self.layout = kernel, tuple(range(ndim))

    def factors(self, x: Any) -> Any:
        return x

    def kernel(self, left: Any, right: Any | None = None) -> np.ndarray:
        return to_numpy(self.of_two(left, right))


class Computer:
    """Computes rectangles of the kernel of `own`, and counts.

    `kept`: of how many tiles the factors are held at once; two at least are. `made`: of how many batches the factors
    have been made so far. `place`: puts examples where they are computed with. x1 and x2 are arrays, or batches that
    can be read one by one.
    """

    def __init__(self, own: OwnNetwork, between: Between, kept: int, place: Callable[[Any], Any] = lambda x: x) -> None:
        self.own, self.between, self.kept, self.place = own, between, max(2, kept), place
        self.made = 0
        self._factors: OrderedDict[tuple[int, int, int], Any] = OrderedDict()

    def __call__(self, region: Region) -> np.ndarray:
        """(rows, columns, …). A rectangle must not go beyond its tile."""
        symmetric = self.own.x2 is None
        with face(self.own.framework).precision(self.own.dtype):
            left = self._of(0, region.rows)
            if symmetric and region.rows == region.columns:
                return self.between.kernel(left)
            return self.between.kernel(left, self._of(0 if symmetric else 1, region.columns))

    def _of(self, side: int, rows: slice) -> Any:
        """The factors of some examples; those that were not needed for longest make room."""
        key = side, rows.start, rows.stop
        if key not in self._factors:
            while len(self._factors) >= self.kept:
                self._factors.popitem(last=False)
            self._factors[key] = self.between.factors(self.examples(side, rows))
            self.made += 1
        self._factors.move_to_end(key)
        return self._factors[key]

    def examples(self, side: int, rows: slice) -> Any:
        """As the framework has them."""
        return self.place(examples(self.own.x2 if side else self.own.x1, rows))


def examples(x: Any, rows: slice) -> Any:
    """These examples of an array, or of batches."""
    return x.examples(rows) if isinstance(x, OwnBatches) else x[rows]
