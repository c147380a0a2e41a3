"""A kernel that is asked for once, in JAX: Jacobians by a loop of one small program, and their products by NumPy."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from impls.choice.jax_one_call import LOOP
from impls.frameworks.arrays import on_host
from impls.frameworks.jax.pulls import Pulls, pulls
from impls.frameworks.jax.support import leaf_names, precision
from impls.given.network import OwnNetwork
from reference import Request
from reference.case import Outputs


def ready(name: str, own: OwnNetwork, request: Request, allowed: float | None, *,
          components: bool) -> tuple[Any, bool] | None:
    """As `impls.own.halves.Half` says: a backward pass of the untouched function has nothing to be checked against."""
    if name != LOOP:
        return None
    with precision(own.dtype):
        program = pulls(own.f, own.params, own.x1[:1], own.n_outputs)
        begin = time.process_time()
        left = _jacobians(program, own, own.x1)
        right = left if own.x2 is None else _jacobians(program, own, own.x2)
        shares = (contract(a, b, request.outputs) for a, b in zip(left, right, strict=True))
        where = next(iter(own.x1.devices()))
        if components:  # each by itself: a dict would come back in the order of its names
            names = leaf_names(own.params)
            kernel = {name: jax.device_put(share, where) for name, share in zip(names, shares, strict=True)}
        else:
            kernel = jax.device_put(sum(shares), where)
        program.spent_s += time.process_time() - begin
    return kernel, True


def contract(left: np.ndarray, right: np.ndarray, outputs: Outputs) -> np.ndarray:
    """The kernel from (N1, O, P) and (N2, O, P), as `impls.frameworks.jax.contraction.contract`."""
    (n1, n_outputs), n2 = left.shape[:2], len(right)
    if outputs == "trace":
        return left.reshape(n1, -1) @ right.reshape(n2, -1).T
    if outputs == "diagonal":
        return np.matmul(left.transpose(1, 0, 2), right.transpose(1, 2, 0)).transpose(1, 2, 0)
    product = left.reshape(n1 * n_outputs, -1) @ right.reshape(n2 * n_outputs, -1).T
    return product.reshape(n1, n_outputs, n2, n_outputs).transpose(0, 2, 1, 3)


def _jacobians(program: Pulls, own: OwnNetwork, x: Any) -> list[np.ndarray]:
    """(N, O, size) for each parameter."""
    examples = on_host(x)
    each = [program.jacobian(own.params, examples[n:n + 1]) for n in range(len(examples))]
    return [np.stack(leaves) for leaves in zip(*each, strict=True)]
