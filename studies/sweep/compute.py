"""The kernel of a point, by one compiled program for all points of an architecture, and its numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls import ntk_fn
from impls.frameworks.jax.support import precision
from impls.frameworks.jax.xla import compiled
from studies.matrix import as_matrix, noise
from studies.networks import coordinates
from studies.networks.coordinates import Architecture, Params, grid
from studies.spectrum import Spectrum, spectrum
from studies.sweep.metrics import numbers
from studies.sweep.points import Point

Program = Callable[[Params, Params, jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class Computed:
    """`kernel` (N, N, O, O) on `x` (N, d). `error`: of uᵀKv against Jᵀu·Jᵀv, over what it could be at most; `kernel_s`:
    seconds of the kernel."""

    x: np.ndarray
    kernel: np.ndarray
    found: Spectrum
    numbers: dict[str, float]
    error: float
    kernel_s: float

    def wrong(self) -> str:
        """What speaks against the kernel; "" where nothing does."""
        limit = noise("float32" if self.kernel.dtype == np.float32 else "float64")
        return "" if self.error <= limit else f"uᵀKv is off by {self.error:.2g} of what backward passes give"


def compute(point: Point) -> Computed:
    """On the CPU. Raises `InputError` for a kernel that is not finite."""
    with precision(point.dtype), jax.default_device(jax.devices("cpu")[0]):
        params, frozen = coordinates.initial(point.architecture, point.numbers, point.dtype)
        x = jnp.asarray(grid(point.architecture.dimension, point.points), point.dtype)
        began = time.perf_counter()
        kernel = np.asarray(_kernel(point.architecture)(params, frozen, x))
        seconds = time.perf_counter() - began
        matrix = as_matrix(kernel)
        found = spectrum(kernel)
        return Computed(np.asarray(x), kernel, found, numbers(kernel, found),
                        _error(point.architecture, params, frozen, x, matrix), seconds)


@lru_cache(maxsize=8)
def _kernel(of: Architecture) -> Program:
    """Activation parameters, frequencies and weights are arguments: a sweep over them compiles once."""
    def kernel(params: Params, frozen: Params, x: jax.Array) -> jax.Array:
        return ntk_fn(lambda some, points: coordinates.outputs(of, some, frozen, points))(params, x)

    return compiled(kernel)


@lru_cache(maxsize=8)
def _pull(of: Architecture) -> Callable[..., Any]:
    """Jᵀu and Jᵀv of two vectors, by a backward pass each: the kernel's engine has no part in it."""
    def pull(params: Params, frozen: Params, x: jax.Array, both: jax.Array) -> Any:
        y, back = jax.vjp(lambda some: coordinates.outputs(of, some, frozen, x), params)
        return jax.vmap(lambda v: back(v.reshape(y.shape))[0])(both)

    return compiled(pull)


def _error(of: Architecture, params: Params, frozen: Params, x: jax.Array, matrix: np.ndarray) -> float:
    both = np.random.default_rng(0).standard_normal((2, len(matrix)))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(_pull(of)(params, frozen, x, jnp.asarray(both, x.dtype)))]
    (uu, uv), (_, vv) = np.sum([_gram(leaf.reshape(2, -1)) for leaf in leaves], axis=0)
    return float(np.abs(both[0] @ matrix @ both[1] - uv) / np.sqrt(uu * vv))


def _gram(rows: np.ndarray) -> np.ndarray:
    """Of complex rows that of their real and imaginary parts."""
    return np.real(rows.astype(np.result_type(rows, np.float64)) @ rows.conj().T)
