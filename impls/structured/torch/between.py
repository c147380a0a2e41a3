"""The kernel between batches that pass through the network one by one: factors first, and any two of them later."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from impls.frameworks.torch.support import Params, precision
from impls.structured.panels import fill
from impls.structured.passes import Arrays
from impls.structured.planner import even
from impls.structured.torch.engine import Engine
from impls.structured.torch.rows import slices

Panels = list[tuple[slice, Arrays]]
"""Which examples of the batch, and their factors."""

AXES = {"full": (1, 3, 0, 2), "diagonal": (1, 2, 0), "trace": (0, 1)}
"""Of the engine's layout, in the order of the kernel's."""


PLAIN_FLOPS = 1e7
"""Of the contraction of a batch with itself: with more, its operations are found anew at each call. (Seen: 0.3 s to
write down those of four shapes of an MLP's tiles of 163 examples and 10 outputs, of which one takes 50 ms.)"""


class Between:
    """Of an engine that was made for the sizes of two batches, at these parameters."""

    def __init__(self, engine: Engine, params: Params) -> None:
        if engine.plan.flops > PLAIN_FLOPS:
            engine = engine.plain()
        self.engine, self.params = engine, {name: p.resolve_neg() for name, p in params.items()}
        task = engine.plan.task
        self.size = even(max(task.n1, task.n2 or 0), engine.panel)
        self.axes = AXES[task.outputs]

    @property
    def layout(self) -> tuple[int, ...]:
        """The axes of what `kernel` gives, in the order in which they lie in memory."""
        return tuple(self.axes.index(axis) for axis in range(len(self.axes)))

    def factors(self, x: Tensor) -> Panels:
        """What `kernel` needs of a batch; held until it is let go."""
        if not self.engine.tried:
            self.engine.try_out(self.params, x)
        with torch.no_grad(), precision(self.engine.dtype):
            return [(rows, self.engine.panel_of(self.params, x[rows])) for rows in slices(len(x), self.size)]

    def kernel(self, left: Panels, right: Panels | None = None) -> np.ndarray:
        """(N1, N2, …) of two batches, on the host; `right` None: of one with itself."""
        columns = left if right is None else right
        n1, n2 = left[-1][0].stop, columns[-1][0].stop
        kernel = torch.empty(self.engine.contractions[""].shape(n1, n2), dtype=self.engine.dtype,
                             device=self.engine.device)
        with torch.no_grad(), precision(self.engine.dtype):
            fill(left, right, len(left), lambda factors: factors,
                 partial(self.engine.write, {"": kernel}, mirror=right is None))
        return kernel.permute(self.axes).numpy(force=True)
