"""The kernel filled panel by panel: for examples that come in batches, or whose factors do not all fit at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from impls.structured.jax_engine import Engine

Kernels = dict[int, Any]
"""By the number of the parameter; their sum by `jax_contract.SUM`."""


@dataclass(frozen=True)
class Slices:
    """`size` examples at a time, for as often as it is iterated over."""

    x: Any
    size: int

    def __iter__(self) -> Iterator[Any]:
        return (self.x[start:start + self.size] for start in range(0, len(self.x), self.size))


def fill(engine: Engine, leaves: list[Any], rows: Iterable[Any], columns: Iterable[Any] | None) -> Kernels:
    """The kernels between all examples of `rows` and of `columns` (None: the same ones, and only half is computed).

    Both are iterated over anew for each group of rows whose factors are in memory at once.
    """
    kept = engine.plan.kept_panels
    starts1, starts2 = (_starts(panels) for panels in (rows, rows if columns is None else columns))
    kernels = engine.empty()
    left: list[Any] = []
    for first in range(0, len(starts1) - 1, kept):
        left = [engine.passes(leaves, x) for x in islice(iter(rows), first, first + kept)]
        for j, x in enumerate(rows if columns is None else columns):
            if columns is None and j < first:
                continue
            known = columns is None and j < first + kept
            right = left[j - first] if known else engine.passes(leaves, x)
            for i, factors in enumerate(left, first):
                if columns is None and j < i:
                    break
                same = columns is None and i == j
                block = engine.contraction(factors, None if same else right)
                kernels = _write(kernels, block, starts1[i], starts2[j], mirrored=columns is None and not same)
            jax.block_until_ready(kernels)  # else later panels are begun, and hold memory, before this one is done
    return kernels


def _starts(panels: Iterable[Any]) -> Sequence[int]:
    """Where each panel begins, and the number of examples."""
    return [0, *accumulate(len(x) for x in panels)]


@partial(jax.jit, donate_argnums=0, static_argnames="mirrored")
def _write(kernels: Kernels, block: Kernels, i: Any, j: Any, *, mirrored: bool) -> Kernels:
    return {key: write(kernels[key], values, i, j, mirrored=mirrored) for key, values in block.items()}


def write(kernel: Any, values: Any, i: Any, j: Any, *, mirrored: bool) -> Any:
    """The kernel with a block written at (i, j), and `mirrored` its transpose at (j, i)."""
    i, j = jnp.asarray(i, jnp.int32), jnp.asarray(j, jnp.int32)  # all of a block's indices are of one type
    rest = (np.int32(0),) * (kernel.ndim - 2)
    kernel = jax.lax.dynamic_update_slice(kernel, values, (i, j, *rest))
    if not mirrored:
        return kernel
    swap = (1, 0, 3, 2) if kernel.ndim == 4 else (1, 0, 2)[:kernel.ndim]
    return jax.lax.dynamic_update_slice(kernel, values.transpose(swap), (j, i, *rest))
