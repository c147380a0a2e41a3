"""Matrix products in blocks of rows, for kernels that are matrices of rows (o, n)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

MOST_SUMMED = 1 << 14
"""Numbers of a row that are summed in one product; of more, parts are, and their sums in float64. One after the other,
millions of squares lose digits (seen: 7e-5 of a sum of 2.4 million in float32)."""

AT_ONCE = 1 << 12
"""Numbers in such a part."""

Pair = tuple[Tensor, Tensor]


def slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def starts(n_rows: int, n: int, rows: int) -> Iterator[tuple[int, int]]:
    """Blocks of at most `rows` rows (o, n): several whole outputs, or a part of one."""
    if n <= rows:
        step = rows // n * n
        return ((start, min(start + step, n_rows)) for start in range(0, n_rows, step))
    return ((o + s.start, o + s.stop) for o in range(0, n_rows, n) for s in slices(n, rows))


def add_product(pairs: Sequence[Pair], factor: Tensor | None, kernel: Tensor, n: int, most_rows: int) -> None:
    """Add Σ left rightᵀ to a kernel of rows (o, n), times `factor` (n, m), the same for all outputs; `most_rows` of the
    kernel at once."""
    factor = None if factor is None else _repeated(factor, 1, kernel.shape[1])
    memory = kernel.new_empty(0)
    for start, stop in starts(len(kernel), n, most_rows):
        block = kernel[start:stop]
        products = block if factor is None else memory.resize_(block.shape)
        _multiply([(left[start:stop], right) for left, right in pairs], products, add=factor is None)
        if factor is not None:
            repeated = factor[start % n :][: stop - start]
            rows = (-1, len(repeated))
            block.unflatten(0, rows).addcmul_(products.unflatten(0, rows), repeated)


def add_symmetric(pairs: Sequence[Pair], factor: Tensor | None, kernel: Tensor, n: int, most_rows: int) -> None:
    """The same on and above the blocks of the diagonal, of a kernel that is symmetric. Blocks of few columns: with
    several threads such of few rows take longer (seen: 1.15 times with two)."""
    factor = None if factor is None else _repeated(factor, 0, len(kernel))
    memory = kernel.new_empty(0)
    for start, stop in starts(len(kernel), n, most_rows):
        block = kernel[:stop, start:stop]
        products = block if factor is None else memory.resize_(block.shape)
        _multiply([(left[:stop], right[start:stop]) for left, right in pairs], products, add=factor is None)
        if factor is not None:
            repeated = factor[:stop, start % n :][:, : stop - start]
            columns = (-1, repeated.shape[1])
            block.unflatten(1, columns).addcmul_(products.unflatten(1, columns), repeated[:, None])


def _repeated(factor: Tensor, axis: int, size: int) -> Tensor:
    """Laid end to end along the axis until it has that size."""
    times = size // factor.shape[axis]
    return factor if times == 1 else torch.cat([factor] * times, axis)


def _multiply(pairs: Sequence[Pair], products: Tensor, *, add: bool) -> None:
    """Write Σ left rightᵀ into `products`, or add it."""
    for i, (left, right) in enumerate(pairs):
        if left.shape[1] > MOST_SUMMED:
            total = torch.zeros(products.shape, dtype=torch.float64, device=products.device)
            for a, b in zip(left.split(AT_ONCE, 1), right.split(AT_ONCE, 1), strict=True):
                total += a @ b.T
            products.add_(total) if i or add else products.copy_(total)
        elif i or add:
            products.addmm_(left, right.T)
        else:
            torch.mm(left, right.T, out=products)
