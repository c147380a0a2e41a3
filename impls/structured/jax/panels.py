"""The kernel filled panel by panel: for examples that come in batches, or whose factors do not all fit at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from impls.frameworks.jax.xla import compiled
from impls.structured.planner import Plan

Kernels = dict[int, Any]
"""By the number of the parameter; their sum by `contract.SUM`."""


Panels = Iterable[tuple[int, Any]]
"""Where each panel begins, and its examples; can be iterated over anew."""


@dataclass(frozen=True)
class Slices:
    """`size` examples at a time; the last ones overlap with those before, so that all panels are of one shape."""

    x: Any
    size: int

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        n, size = len(self.x), min(self.size, len(self.x))
        return ((start, self.x[start:start + size]) for start in (min(i, n - size) for i in range(0, n, size)))


@dataclass(frozen=True)
class Pieces:
    """Batches of any sizes, in pieces of at most `size` examples."""

    batches: Iterable[Any]
    size: int

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        begun = 0
        for batch in self.batches:
            for start in range(0, len(batch), self.size):
                yield begun + start, batch[start:start + self.size]
            begun += len(batch)


class Passes(Protocol):
    """What of an engine fills panels."""

    @property
    def plan(self) -> Plan: ...

    def empty(self) -> Kernels: ...

    def passes(self, leaves: list[Any], *some: Any) -> Any: ...

    @property
    def contraction(self) -> Callable[[Any, Any], Kernels]: ...


def fill(engine: Passes, leaves: list[Any], rows: Panels, columns: Panels | None) -> Kernels:
    """The kernels between all examples of `rows` and of `columns` (None: the same ones, and only half is computed).

    Both are iterated over anew for each group of rows whose factors are in memory at once. The loop is Python's: inside
    one of XLA's own, its CPU backend runs convolutions seven times slower (seen: jaxlib 0.10.2).
    """
    symmetric, kernels = columns is None, engine.empty()
    source, first = iter(rows), 0
    while left := [(i, engine.passes(leaves, x)) for i, x in islice(source, engine.plan.kept_panels)]:
        for number, (j, x) in enumerate(rows if columns is None else columns):
            if symmetric and number < first:
                continue
            known = symmetric and number < first + len(left)
            right = left[number - first][1] if known else engine.passes(leaves, x)
            for k, (i, factors) in enumerate(left, first):
                if symmetric and number < k:
                    break
                same = symmetric and number == k
                block = engine.contraction(factors, None if same else right)
                kernels = _write(kernels, block, i, j, mirrored=symmetric and not same)
            jax.block_until_ready(kernels)  # else later panels are begun, and hold memory, before this one is done
        first += len(left)
        del left
    return kernels


@partial(compiled, donate_argnums=0, static_argnames="mirrored")
def _write(kernels: Kernels, block: Kernels, i: Any, j: Any, *, mirrored: bool) -> Kernels:
    return {key: write(kernels[key], values, i, j, mirrored=mirrored) for key, values in block.items()}


def write(kernel: Any, values: Any, i: Any, j: Any, *, mirrored: bool) -> Any:
    """The kernel with a block written at (i, j), and `mirrored` its transpose at (j, i)."""
    kernel = jax.lax.dynamic_update_slice(kernel, values, place(i, j, kernel.ndim))
    if not mirrored:
        return kernel
    swap = (1, 0, 3, 2) if kernel.ndim == 4 else (1, 0, 2)[:kernel.ndim]
    return jax.lax.dynamic_update_slice(kernel, values.transpose(swap), place(j, i, kernel.ndim))


def place(i: Any, j: Any, ndim: int, columns: int = 1) -> tuple[Any, ...]:
    """The indices at which a block begins: i along the first axis, j along `columns`, 0 along the others."""
    starts = {0: i, columns: j}
    return tuple(jnp.asarray(starts.get(axis, 0), jnp.int32) for axis in range(ndim))  # all of one type
