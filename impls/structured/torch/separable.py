"""The contraction where cotangents are separable: Σ_{s,j} c[o,s,j] c'[o',s,j] F[n,m,s,j].

c is the same for all examples, so that the products c c' are symmetric in the outputs, whatever the examples are; and F
is symmetric in these where x2 = x1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from impls.structured.planner import Outputs


class Pairs(NamedTuple):
    """The pairs of outputs o ≤ o', W of them."""

    first: Tensor
    """(W,): o of each."""
    second: Tensor
    """(W,): o' of each."""
    place: Tensor
    """(O·O,): where among them (o, o') is, or (o', o)."""


def pairs_of(n_outputs: int, device: torch.device) -> Pairs:
    """All pairs of that many outputs, in the order of `torch.triu_indices`."""
    first, second = torch.triu_indices(n_outputs, n_outputs, device=device)
    place = torch.empty(n_outputs, n_outputs, dtype=torch.int64, device=device)
    place[first, second] = place[second, first] = torch.arange(len(first), device=device)
    return Pairs(first, second, place.flatten())


def weights(c: Tensor, outputs: Outputs, pairs: Pairs | None) -> Tensor:
    """(W, S·J): the products c c' that the kernel is made of; for "full" of `pairs`."""
    if outputs == "full":
        assert pairs is not None
        return c.index_select(0, pairs.first) * c.index_select(0, pairs.second)
    return c * c if outputs == "diagonal" else (c * c).sum(0, keepdim=True)


def of_single(c: Tensor, d: Tensor, d2: Tensor, gram: Tensor, most: int, *, symmetric: bool) -> Tensor:
    """(W, N, M) for weights `c`: F[n,m,j] = (a[n]·a'[m]) d[n,j] d'[m,j], with `gram` the products of the inputs;
    `most` numbers of a block at once."""
    found = d.new_empty(len(c), len(d), len(d2))
    few = 2 * len(c) < len(d2)
    for rows, columns in _blocks(len(d), len(d2), (len(c) if few else len(d2)) * d.shape[1], most, symmetric):
        left, right = d[rows], d2[columns]
        if few:
            block = (c[:, None] * left).flatten(0, 1) @ right.T
        else:
            block = c @ (left[:, None] * right).flatten(0, 1).T
        _write(found, block, rows, columns, symmetric=symmetric)
    return found.mul_(gram)


def of_gradients(c: Tensor, e: Tensor, e2: Tensor, most: int, *, symmetric: bool) -> Tensor:
    """(W, N, M): F[n,m,j] = Σ_i e[n,j,i] e'[m,j,i], with the S and J of the product in j."""
    found = e.new_empty(len(c), len(e), len(e2))
    for rows, columns in _blocks(len(e), len(e2), e.shape[1] * len(e2), most, symmetric):
        left, right = e[rows], e2[columns]
        if len(c) == 1:
            block = (c[0, :, None] * left).flatten(1) @ right.flatten(1).T
        else:
            block = c @ (left.transpose(0, 1) @ right.permute(1, 2, 0)).flatten(1)
        _write(found, block, rows, columns, symmetric=symmetric)
    return found


def add(kernel: Tensor, found: Tensor, outputs: Outputs, pairs: Pairs | None, gathered_bytes: int) -> None:
    """To a kernel (O, N, O, M), (O, N, M) or (N, M); for "full" of `pairs`, all of them at once where the kernel has no
    more than `gathered_bytes`."""
    if outputs == "trace":
        kernel.add_(found[0])
    elif outputs == "diagonal":
        kernel.add_(found)
    elif kernel.nbytes <= gathered_bytes:
        assert pairs is not None
        wide = found.index_select(0, pairs.place).unflatten(0, kernel.shape[::2])
        kernel.add_(wide.transpose(1, 2))
    else:
        first = 0
        for o in range(len(kernel)):
            some = found[first : first + len(kernel) - o]
            kernel[o, :, o:].add_(some.transpose(0, 1))
            kernel[o + 1 :, :, o].add_(some[1:])
            first += len(some)


def _blocks(n: int, m: int, numbers: int, most: int, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Rows and columns; `numbers`: what a row needs, and `most` that a block may."""
    size = max(1, min(n, most // max(numbers, 1)))
    return ((slice(i, min(i + size, n)), slice(i if symmetric else 0, m)) for i in range(0, n, size))


def _write(found: Tensor, block: Tensor, rows: slice, columns: slice, *, symmetric: bool) -> None:
    block = block.view(len(found), rows.stop - rows.start, -1)
    found[:, rows, columns] = block
    if symmetric:
        found[:, rows.stop :, rows] = block[..., rows.stop - rows.start :].mT
