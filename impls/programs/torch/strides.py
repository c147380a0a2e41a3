"""Tensors addressed by places in memory, as entries of the tensor that lies there.

`as_strided` is what PyTorch's own layers use to lay a result out anew (an average over the places of a channels-last
image, say). What it reads depends on how its tensor lies in memory; that is known while the network runs without
numbers, and may be another when the program runs, so that the entries are written down and not the places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from impls.frameworks.torch.internals import unset_fake_temporarily
from impls.programs.program import Constant, Operand
from impls.programs.torch.program import Untraceable
from impls.programs.torch.rewrites import Writer

aten = torch.ops.aten


def entries(
    x: Tensor, shape: Sequence[int], strides: Sequence[int], offset: int | None = None
) -> tuple[Sequence[int], list[int]]:
    """The shape, and for each of its places in order the number of the entry of x that `as_strided` has there. Raises
    `Untraceable` where it reads memory that x does not cover."""
    start = int(x.storage_offset())
    entry_at = dict(zip(_addresses(x.shape, x.stride(), start), range(math.prod(x.shape)), strict=True))
    asked = _addresses(shape, strides, start if offset is None else offset)
    try:
        return shape, [entry_at[address] for address in asked]
    except KeyError:
        raise Untraceable("as_strided reads memory beyond the tensor that it is given") from None


def taken(to: Writer, x: Operand, shape: Sequence[int], entries: Sequence[int]) -> Any:
    """x with these of its entries, in this shape."""
    if list(entries) == list(range(math.prod(x.shape))):
        return to.emit(aten.reshape.default, x, list(shape))
    flat = to.emit(aten.reshape.default, x, [math.prod(x.shape)])
    with unset_fake_temporarily():  # these are numbers, while the network runs without
        rows = torch.tensor(entries, device=to.device(x))
    picked = to.emit(aten.index_select.default, flat, 0, Constant(rows))
    return to.emit(aten.reshape.default, picked, list(shape))


def _addresses(shape: Sequence[int], strides: Sequence[int], start: int) -> list[int]:
    """In C order."""
    addresses = [start]
    for size, stride in zip(shape, strides, strict=True):
        addresses = [address + i * stride for address in addresses for i in range(size)]
    return addresses
