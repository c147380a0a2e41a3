"""A network and its examples on their way to the process of another device."""

from __future__ import annotations

import copy
import mmap
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from impls.given.structure import is_array, is_structure, mapped
from impls.given.user_network import UserNetwork
from impls.tiles.job import Asking, Job, job
from reference import InputError


def sent(again: Callable[[], Job], path: Path) -> Callable[[], Job]:
    """What makes the job in a process of a device, so that it can be sent there: a network of the user's and its
    examples without a tensor on a GPU, which stays one process's. Arrays in files are sent by their names."""
    if not (isinstance(again, partial) and again.func is job):
        return again
    network, x1, x2 = again.args
    return partial(_made, *_on_cpu(network), *(_packed(x) for x in (x1, x2)), again.keywords["asking"], path.absolute())


def _made(network: UserNetwork, kind: str, x1: Any, x2: Any, asking: Asking, path: Path) -> Job:
    if isinstance(network.model, nn.Module):
        network = replace(network, model=network.model.to(kind))
    else:
        network = replace(network, params={name: p.to(kind) for name, p in network.params.items()})
    x1, x2 = (x.open() if isinstance(x, Mapped) else x for x in (x1, x2))
    return job(network, x1, x2, asking=asking, path=path)


def _on_cpu(network: UserNetwork) -> tuple[UserNetwork, str]:
    """A copy, and where the network itself is."""
    if isinstance(network.model, nn.Module):
        where = next(network.model.parameters()).device.type
        return (network if where == "cpu" else replace(network, model=copy.deepcopy(network.model).cpu())), where
    where = next(iter(network.params.values())).device.type
    return replace(network, params={name: p.detach().cpu() for name, p in network.params.items()}), where


def _packed(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.detach().cpu().numpy()
    if isinstance(x, np.memmap):
        return Mapped.of(x)
    if x is None or is_array(x):
        return x
    if is_structure(x):
        return mapped(x, lambda _, array: _packed(array))
    raise InputError("devices= needs x1 and x2 as arrays, or structures of arrays; batches are read in one process")


@dataclass(frozen=True)
class Mapped:
    """An array in a file, which is read piece by piece there as well."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    order: Literal["C", "F"]

    @classmethod
    def of(cls, x: np.memmap) -> Mapped | np.ndarray:
        """Of a whole file's; a part of one is copied, for it does not know where it begins."""
        if not isinstance(x.base, mmap.mmap) or x.filename is None:
            return np.array(x)
        return cls(str(x.filename), x.dtype.str, x.shape, x.offset, "C" if x.flags.c_contiguous else "F")

    def open(self) -> np.ndarray:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)
