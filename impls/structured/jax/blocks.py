"""The contraction of the factors of two batches of examples, in blocks of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.structured.jax.contract import contract
from impls.structured.jax.factors import SAME
from impls.structured.passes import Arrays
from impls.structured.planner import Plan
from impls.structured.terms import Term

Kernels = dict[int, Any]
"""By the number of the parameter; their sum by `contract.SUM`."""


@dataclass(frozen=True, eq=False)
class Contraction:
    """`groups`: the terms of a group are added up block by block, and one group after the other.

    A group of one term reads its factors and no others, so that XLA has room for the next ones once it is done. Where
    the factors are all there beforehand one group is best: the kernel is written once. `apart`: the kernel of each
    parameter; with one group only.
    """

    groups: Sequence[Sequence[Term]]
    plan: Plan
    dtype: Any
    apart: bool

    def __call__(self, factors1: Arrays, factors2: Arrays | None) -> Kernels:
        """The kernels; `factors2` None: of the same examples, and only blocks of the upper triangle are computed."""
        n_outputs, symmetric = self.plan.task.n_outputs, factors2 is None
        left, right = ({name: a.reshape(-1, n_outputs, *a.shape[1:]) if name.endswith(".g") else a
                        for name, a in arrays.items()} for arrays in (factors1, factors2 or factors1))
        n1, n2 = (len(next(a for name, a in side.items() if not name.endswith(SAME))) for side in (left, right))
        size1, size2 = min(n1, self.plan.block1), min(n2, self.plan.block2)
        starts = _starts(n1, size1, n2, size2, symmetric)
        if len(starts) == 1:
            terms = [term for group in self.groups for term in group]
            return self._laid_out(self._contract(terms, left, right))
        kernels: Kernels = {}
        for group in self.groups:
            sides = (_of(group, left), n1, size1), (_of(group, right), n2, size2)
            kernels = self._add(group, kernels, *sides, starts, last=group is self.groups[-1], symmetric=symmetric)
        return kernels

    def _add(self, group: Sequence[Term], before: Kernels, rows: tuple[Arrays, int, int],
             columns: tuple[Arrays, int, int], starts: np.ndarray, *, last: bool, symmetric: bool) -> Kernels:
        """`before` and the group's terms; the `last` time laid out as they are returned, in both triangles.

        In place, unless the layout changes, or the last block of a row or column overlaps with the one before it: that
        part is to be added once.
        """
        (left, n1, size1), (right, n2, size2), table = rows, columns, jnp.asarray(starts)
        moved = last and self.plan.task.outputs == "full"
        in_place = bool(before) and not moved and n1 % size1 == n2 % size2 == 0

        def at(kernel: Any, i: Any, j: Any) -> tuple[Any, ...]:
            return place(i, j, kernel.ndim, self._columns)

        def block(i: Any, j: Any, known: Kernels) -> Kernels:
            values = self._contract(group, _rows(left, i, size1), _rows(right, j, size2))
            values = {key: share + jax.lax.dynamic_slice(known[key], at(share, i, j), share.shape)
                      if key in known else share for key, share in values.items()}
            return self._laid_out(values) if last else values

        def body(k: Any, kernels: Kernels) -> Kernels:
            i, j = table[k]
            values = block(i, j, kernels if in_place else before)
            if last:
                return {key: write(kernels[key], values[key], i, j, mirrored=symmetric) for key in values}
            return {key: jax.lax.dynamic_update_slice(kernels[key], share, at(share, i, j))
                    for key, share in values.items()}

        kernels = before
        if not in_place:
            wide = {0: n1, 1 if last else self._columns: n2}
            kernels = {key: jax.lax.empty(tuple(wide.get(axis, n) for axis, n in enumerate(values.shape)), self.dtype)
                       for key, values in jax.eval_shape(block, 0, 0, before).items()}
        return jax.lax.fori_loop(0, len(starts), body, kernels)

    def _contract(self, terms: Sequence[Term], left: Arrays, right: Arrays) -> Kernels:
        return contract(terms, left, right, self.plan.task.outputs, self.dtype, apart=self.apart)

    @property
    def _columns(self) -> int:
        """The axis of the second examples, in the layout in which `contract` leaves a kernel."""
        return 2 if self.plan.task.outputs == "full" else 1

    def _laid_out(self, kernels: Kernels) -> Kernels:
        """(N, M, O, O) from (N, O, M, O)."""
        full = self.plan.task.outputs == "full"
        return {key: kernel.transpose(0, 2, 1, 3) if full else kernel for key, kernel in kernels.items()}


def is_one_program(plan: Plan) -> bool:
    """Whether the passes and the contraction are better compiled as one program, where factors come and go.

    For that the contraction has to take its factors as they are into matrix products, and they have to be larger than
    two kernels, for there may be two. Else XLA fuses what makes a factor with what takes slices of it, and computes
    it anew for each slice (seen: a third more time for a transformer, jaxlib 0.10.2). On a GPU one program has fewer
    gaps between its launches, and slices are only taken where there are several blocks.
    """
    if plan.task.device == "cuda" and plan.block1 >= plan.task.n1 and plan.block2 >= (plan.task.n2 or 0):
        return True
    return 2 * plan.task.kernel_bytes < plan.bytes and all(
        not step.parameter.transposed and (way in ("top", "gradient") or product.single)
        for step in plan.steps for way, product in zip(step.ways, step.parameter.products, strict=False))


def _starts(n1: int, size1: int, n2: int, size2: int, symmetric: bool) -> np.ndarray:
    """(blocks, 2): where each block starts; the last of a row or column is moved back to end with the examples."""
    rows, columns = ([min(i, n - size) for i in range(0, n, size)] for n, size in ((n1, size1), (n2, size2)))
    return np.array([(i, j) for i in rows for j in columns if not symmetric or j >= i], np.int32)


def _rows(arrays: Arrays, start: Any, size: int) -> Arrays:
    """`size` examples from `start`, of each array."""
    return {name: a if name.endswith(SAME) or len(a) == size else jax.lax.dynamic_slice_in_dim(a, start, size)
            for name, a in arrays.items()}


def _of(group: Sequence[Term], arrays: Arrays) -> Arrays:
    """The factors that these terms read."""
    return {name: a for name, a in arrays.items() if any(f"{name}.".startswith(f"{term.name}.") for term in group)}


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
