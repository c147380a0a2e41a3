"""A kernel put together from blocks of examples, and the contractions that make one block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from reference.case import Outputs

Part = TypeVar("Part")
"""What a method holds of some examples: the inputs themselves, Jacobians, …"""


def assemble(
    part: Callable[[Tensor], Part],
    contract: Callable[[Part, Part], Tensor],
    x1: Shaped[Tensor, "N1 ..."],
    x2: Shaped[Tensor, "N2 ..."] | None,
    batch_size: int | None,
) -> Float[Tensor, "N1 N2 ..."]:
    """The kernel from ``contract(part(rows), part(columns))`` for blocks of `batch_size` examples, all without one.

    At most two parts are alive: that of the rows, made once, and that of the columns, made anew for each block of rows.
    """
    return assemble_parts(part, lambda left, right: {"": contract(left, right)}, x1, x2, batch_size)[""]


def assemble_parts(
    part: Callable[[Tensor], Part],
    contract: Callable[[Part, Part], Mapping[str, Tensor]],
    x1: Shaped[Tensor, "N1 ..."],
    x2: Shaped[Tensor, "N2 ..."] | None,
    batch_size: int | None,
) -> dict[str, Tensor]:
    """As `assemble`, for several kernels at once, by name."""
    columns = None if x2 is None else lambda j: part(x2[j])
    n1, n2 = len(x1), len(x1 if x2 is None else x2)
    return assemble_each(lambda i: part(x1[i]), columns, contract, (n1, n2), batch_size)


def assemble_slices(
    rows: Callable[[slice], Part],
    columns: Callable[[slice], Part] | None,
    contract: Callable[[Part, Part], Tensor],
    shape: tuple[int, int],
    batch_size: int | None,
) -> Float[Tensor, "N1 N2 ..."]:
    """The kernel of that shape (N1, N2) from ``contract(rows(i), columns(j))``.

    ``columns=None`` means x2 = x1: only the blocks on and above the diagonal are computed.
    """
    return assemble_each(rows, columns, lambda left, right: {"": contract(left, right)}, shape, batch_size)[""]


def assemble_each(
    rows: Callable[[slice], Part],
    columns: Callable[[slice], Part] | None,
    contract: Callable[[Part, Part], Mapping[str, Tensor]],
    shape: tuple[int, int],
    batch_size: int | None,
) -> dict[str, Tensor]:
    """As `assemble_slices`, for several kernels at once, by name."""
    kernels: dict[str, Tensor] = {}
    for i in _slices(shape[0], batch_size):
        left = rows(i)
        for j in _slices(shape[1], batch_size):
            if columns is None and j.start < i.start:
                continue
            right = columns(j) if columns is not None else left if i == j else rows(j)
            for name, block in contract(left, right).items():
                if name not in kernels:
                    kernels[name] = block.new_empty((*shape, *block.shape[2:]))
                kernels[name][i, j] = block
                if columns is None and i != j:
                    kernels[name][j, i] = _mirrored(block)
    return kernels


def contract(left: Float[Tensor, "n O P"], right: Float[Tensor, "m O P"], outputs: Outputs) -> Float[Tensor, "n m ..."]:
    """Σ_p left[n, a, p] right[m, b, p], of shape (n, m, O, O); its entries a = b, (n, m, O); or their sum, (n, m).

    Matrix products only; the diagonal and the trace cost O times less than the full kernel and never form it.
    """
    (n, n_outputs, p), m = left.shape, len(right)
    if outputs == "full":
        products = _product(left.reshape(1, n * n_outputs, p), right.reshape(1, m * n_outputs, p))
        return products.reshape(n, n_outputs, m, n_outputs).transpose(1, 2)
    if outputs == "diagonal":
        return _product(left.transpose(0, 1), right.transpose(0, 1)).permute(1, 2, 0)
    return _product(left.reshape(1, n, n_outputs * p), right.reshape(1, m, n_outputs * p))[0]


# A product of few rows adds up all P terms one after the other: at P = 2²⁰ in float32, with rounding errors of 6e-5. In
# pieces of this length they are 3e-7, in no more time (PyTorch 2.13 on the CPU, 8 rows).
PIECE = 2**14


def _product(left: Float[Tensor, "k n P"], right: Float[Tensor, "k m P"]) -> Float[Tensor, "k n m"]:
    """left @ rightᵀ for each k, its terms added up in pieces."""
    total = left.new_zeros((left.shape[0], left.shape[1], right.shape[1]))
    for a, b in zip(left.split(PIECE, dim=2), right.split(PIECE, dim=2), strict=True):
        total.baddbmm_(a, b.transpose(1, 2))
    return total


def summed(shares: Iterable[Tensor]) -> Tensor:
    """The sum, made in the memory of the first."""
    return reduce(torch.Tensor.add_, shares)


def _slices(n: int, batch_size: int | None) -> list[slice]:
    """Slices of `batch_size` that cover range(n); the last may be shorter."""
    step = n if batch_size is None else batch_size
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _mirrored(block: Tensor) -> Tensor:
    """The block at (j, i) of a symmetric kernel from the one at (i, j): K[m, n, b, a] = K[n, m, a, b]."""
    return block.permute(1, 0, 3, 2) if block.ndim == 4 else block.transpose(0, 1)
