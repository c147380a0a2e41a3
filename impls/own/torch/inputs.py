"""Examples of a PyTorch network: tensors in the dtype of its parameters, or, of several inputs, rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from impls.frameworks.torch.module import check_held, differentiable
from impls.frameworks.torch.support import DTYPES, Forward, Params
from impls.given.batches import OwnBatches, is_batches
from impls.given.items import Chosen, Takes, inputs_of, spread
from impls.given.network import check_finite, check_numbers
from impls.given.structure import is_structure, mapped
from impls.given.table import Table, joined, table
from reference import InputError
from reference.case import DType

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


class Examples(NamedTuple):
    """x1 and x2 as the methods take them; where they are numbers of rows, `table` has these."""

    x1: Any
    x2: Any
    table: Table | None

    def tensors(self) -> list[tuple[str, Tensor]]:
        """Whatever tensors there are, by name; of batches the first."""
        if self.table is not None:
            found: list[tuple[str, Tensor]] = []
            mapped(self.table.rows, lambda path, tensor: found.append((path, tensor)), "the input ")
            return found
        some = (("x1", self.x1), ("x2", self.x2))
        return [(what, next(iter(x)) if isinstance(x, OwnBatches) else x) for what, x in some if x is not None]


def examples(x1: Any, x2: Any, takes: Takes, inputs: Any, dtype: DType, where: torch.device) -> Examples:
    """Raises `InputError` for what is no example of the network, or leaves a doubt."""
    first, second = (
        _Read(dtype, where).all(inputs_of(x, what, takes, inputs), what)
        if what == "x1" or x is not None else None for what, x in (("x1", x1), ("x2", x2)))
    if not isinstance(first, Table) and not isinstance(second, Table):
        return Examples(first, second, None)
    if second is None:
        assert isinstance(first, Table)
        return Examples(torch.arange(len(first), device=where), None, first)
    if not (isinstance(first, Table) and isinstance(second, Table)):
        raise InputError("x1 and x2 must hold inputs of one structure, and one of them is a single array of numbers")
    both = joined([first, second], torch.cat, "x1 and x2")
    numbers = torch.arange(len(both), device=where)
    return Examples(numbers[: len(first)], numbers[len(first) :], both)


def of_numbers(f: Callable[..., Any], rows: Table | None, takes: Takes) -> Forward:
    """``f(params, *args, **kwargs)`` as a function (params, x), or (params, numbers) of rows."""
    if rows is None:
        return lambda params, x: f(params, x)

    def forward(params: Params, numbers: Tensor) -> Tensor:
        args, kwargs = spread(rows[numbers], takes)
        return f(params, *args, **kwargs)

    return forward


class _Read:
    """Converts what is given, which stays as it is."""

    def __init__(self, dtype: DType, where: torch.device) -> None:
        self.dtype, self.where = dtype, where

    def all(self, x: Any, what: str) -> Tensor | OwnBatches | Table:
        batches = x if isinstance(x, Chosen) else None
        if batches is None and (is_structure(x) or not is_batches(x, what)):
            return self.one(x, what)
        some = next(iter(x), None)
        if some is None or _is_plain(some):
            return OwnBatches(x, what, self.one, lambda x: float(x.sum()), torch.cat)
        return joined([self.rows(batch, what) for batch in x], torch.cat, f"the batches of {what}")

    def one(self, x: Any, what: str) -> Any:
        """One batch."""
        return self.array(x, what) if _is_plain(x) or not _is_arrays(x) else self.rows(x, what)

    def rows(self, x: Any, what: str) -> Table:
        found = mapped(x, lambda path, array: self.array(array, path, of_several=True), what)
        rows = table(found, what)
        if not len(rows):
            raise InputError(f"{what} is empty; it needs at least one example")
        mapped(rows.rows, lambda path, tensor: check_finite(bool(torch.isfinite(tensor).all()), path), what)
        return rows

    def array(self, x: Any, what: str, *, of_several: bool = False) -> Tensor:
        if isinstance(x, np.ma.MaskedArray):
            raise InputError(f"{what} is a masked array, whose mask would be lost; give {what}.filled(...)")
        if isinstance(x, np.ndarray):
            x = self.of_numpy(x, what)
        if not isinstance(x, Tensor):
            raise InputError(f"{what} must be a tensor or a NumPy array for this model, got {type(x).__name__}")
        check_held(x, what)
        check_numbers(str(x.dtype), of_several or not (x.is_complex() or x.dtype == torch.bool), what)
        x = differentiable(x.detach())
        if x.is_complex():
            return x.to(COMPLEX[DTYPES[self.dtype]]).resolve_conj()
        return x.to(DTYPES[self.dtype]) if x.is_floating_point() else x

    def of_numpy(self, x: np.ndarray, what: str) -> Tensor:
        """A copy on the parameters' device, whatever the order of bytes and strides."""
        check_numbers(str(x.dtype), x.dtype.kind in "fiucb", what)
        if x.dtype.kind in "fc" and x.dtype.itemsize > np.dtype("f8" if x.dtype.kind == "f" else "c16").itemsize:
            x = x.astype("f8" if x.dtype.kind == "f" else "c16")  # long doubles, which PyTorch does not have
        if x.dtype.kind == "b":
            dtype = torch.bool
        else:
            dtype = {"f": DTYPES[self.dtype], "c": COMPLEX[DTYPES[self.dtype]]}.get(x.dtype.kind, torch.int64)
        native = np.array(x, x.dtype.newbyteorder("="), order="C")  # of one example too, which is contiguous backwards
        return torch.tensor(native, dtype=dtype, device=self.where)


def _is_arrays(x: Any) -> bool:
    return isinstance(x, Tensor | np.ndarray) or is_structure(x)


def _is_plain(x: Any) -> bool:
    """One array of real numbers, which every method takes."""
    if isinstance(x, Tensor):
        return not (x.is_complex() or x.dtype == torch.bool)
    return isinstance(x, np.ndarray) and x.dtype.kind not in "cb"
