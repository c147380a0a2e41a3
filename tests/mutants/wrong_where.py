"""Right methods but for one circumstance: most mistakes of the kind that small, clean requests do not show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from impls import Method
from impls.protocol import Array
from reference import MLP, Case, ConvNet, Layered, Request
from reference.layers import Layer
from tests.mutants.mutant import after

Circumstance = Callable[[Case, Request], bool]


def wrong_where(so: Circumstance) -> Callable[[Method], Method]:
    """For `Mutant.make`: the last entry is 1 % too large there."""
    return after(lambda kernel, case, request: spoiled(kernel) if so(case, request) else kernel)


def spoiled(kernel: Any) -> Array:
    """A copy whose last pair of examples is 1 % off."""
    if hasattr(kernel, "at"):
        return kernel.at[-1, -1].multiply(1.01)
    changed = kernel.clone() if hasattr(kernel, "clone") else kernel.copy()
    changed[-1, -1] *= 1.01
    return changed


def n1(case: Case) -> int:
    return len(case.x1)


def n2(case: Case) -> int:
    """0 where x2 = x1."""
    return 0 if case.x2 is None else len(case.x2)


def n_outputs(case: Case) -> int:
    return case.network.n_outputs or 0


def n_params(case: Case) -> int:
    return sum(array.size for array in case.params.values())


def largest(case: Case) -> int:
    return max(array.size for array in case.params.values())


def depth(case: Case) -> int:
    return len(case.network.widths) - 1 if isinstance(case.network, MLP) else 0


def layers(case: Case, *kinds: type[Layer]) -> list[Any]:
    network = case.network
    return [layer for layer in network.all_layers() if isinstance(layer, kinds)] if isinstance(network, Layered) else []


def convolutions(case: Case) -> Iterator[Any]:
    """Of both sorts of networks."""
    from reference.layers import Convolution

    yield from case.network.convs if isinstance(case.network, ConvNet) else layers(case, Convolution)


def sides(case: Case) -> tuple[int, ...]:
    """Height and width of images."""
    shape = case.network.input_shape or ()
    return shape[1:] if len(shape) == 3 else ()


def positions(case: Case) -> int:
    return case.x1.shape[1] if case.network.n_tokens is not None or case.x1.ndim == 3 else 0


def zero_example(x: np.ndarray | None) -> bool:
    return x is not None and x.dtype.kind == "f" and bool((x.reshape(len(x), -1) == 0).all(1).any())


def n_blocks(case: Case, request: Request) -> int:
    return 1 if request.batch_size is None else math.ceil(max(n1(case), n2(case)) / request.batch_size)
