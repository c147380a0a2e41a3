"""The kernel between batches that pass through the network one by one: factors first, and any two of them later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.structured.jax.contract import SUM
from impls.structured.jax.engine import Engine
from impls.structured.panels import fill
from impls.structured.passes import Arrays
from impls.structured.planner import even

Panels = list[tuple[slice, tuple[slice, Arrays]]]
"""Which examples of the batch; which of the panel they are, and the factors of the panel."""


class Between:
    """Of an engine that was made for the sizes of two batches, at these parameters.

    All panels have the engine's size, whatever the batch: the last one begins earlier, or repeats an example, so that
    nothing is compiled anew for it.
    """

    def __init__(self, engine: Engine, params: Any) -> None:
        self.engine, self.leaves = engine, jax.tree.leaves(params)
        plan = engine.plan
        self.size = even(max(plan.task.n1, plan.task.n2 or 0), min(plan.panel1, plan.panel2))
        self.layout = tuple(range(len(engine.shape())))
        """The axes of what `kernel` gives, in the order in which they lie in memory."""

    def factors(self, x: Any) -> Panels:
        """What `kernel` needs of a batch; held until it is let go."""
        panels: Panels = [] if self.engine.factors.terms else [(slice(0, len(x)), (slice(0, len(x)), {}))]
        for taken, within, examples in _pieces(x, self.size) if not panels else ():
            panels.append((taken, (within, jax.block_until_ready(self.engine.passes(self.leaves, examples)))))
        return panels

    def kernel(self, left: Panels, right: Panels | None = None) -> np.ndarray:
        """(N1, N2, …) of two batches, on the host; `right` None: of one with itself."""
        columns = left if right is None else right
        if self.engine.factors.terms and len(left) == len(columns) == 1:
            (_, (rows, factors)), (_, (others, factors2)) = left[0], columns[0]
            found = self.engine.contraction(factors, None if right is None else factors2)[SUM]
            return np.asarray(found)[rows, others]  # on the host without a copy
        whole = np.zeros(self.engine.shape(left[-1][0].stop, columns[-1][0].stop), self.engine.dtype)

        def write(i: slice, j: slice, rows: Any, others: Any | None) -> None:
            (within1, factors1), (within2, factors2) = rows, (rows[0], None) if others is None else others
            whole[i, j] = np.asarray(self.engine.contraction(factors1, factors2)[SUM])[within1, within2]
            if right is None and others is not None:
                swap = (1, 0, 3, 2) if whole.ndim == 4 else (1, 0, 2)[:whole.ndim]
                whole[j, i] = whole[i, j].transpose(swap)

        if self.engine.factors.terms:
            fill(left, right, len(left), lambda factors: factors, write)
        return whole


def _pieces(x: Any, size: int) -> Iterator[tuple[slice, slice, Any]]:
    n = len(x)
    if n < size:
        yield slice(0, n), slice(0, n), jnp.concatenate([x, jnp.repeat(x[-1:], size - n, 0)])
        return
    for start in range(0, n, size):
        begin = min(start, n - size)
        yield slice(start, min(start + size, n)), slice(start - begin, size), x[begin:begin + size]
