"""The summands of the kernel, and the arrays that they are contracted from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from impls.structured.analysis import Group
from impls.structured.planner import Product, Way

Arrays = dict[str, Tensor]
"""Name to array: ``a`` (N, S, T, I) or row numbers (N, T), ``g`` (O, N, S, T, J), gradients (O, N, P). Of a separable
g: ``c`` (O, S·J), the same for all examples, and either ``d`` (N, J) or with it summed over the positions the gradients
up to c, ``e`` (N, S·J, I + B)."""


@dataclass(frozen=True, eq=False)
class Term:
    """One summand of the kernel: a product and its way, or gradients (`group` None)."""

    name: str
    way: Way | Literal["cross"]
    parameter: int | None = None
    """None: of several."""
    group: Group | None = None
    other: Group | None = None
    """For the way "cross": the second use of a tied parameter, as the transposed matrix."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Of the parameters."""

    @property
    def product(self) -> Product:
        assert self.group is not None
        return self.group.product

    @cached_property
    def in_rows(self) -> bool:
        """Whether it is a matrix product of rows, times a number for each pair of examples."""
        return self.way == "gradient" or (self.way == "gram" and self.product.shared == self.product.positions == 1)

    @cached_property
    def top_order(self) -> tuple[Tensor | None, float]:
        """Where each output is in (s, t, j), None where the order is the same; and the square of what y is multiplied
        by."""
        assert self.group is not None
        assert self.group.top is not None
        (use,) = self.group.uses
        outputs = torch.arange(math.prod(use.y.shape))
        place = use.arrange(outputs.reshape(use.y.shape)).flatten().argsort()
        scale = self.group.top**2 * (use.scale**2 if self.product.lookup else 1.0)
        return (None if bool((place == outputs).all()) else place.to(self.device)), scale
