"""The kernel of a point, by one compiled program for all points of an architecture, and its numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from impls import load, ntk_fn
from impls.frameworks.jax.support import precision
from impls.frameworks.jax.xla import compiled
from reference import Request
from reference.case import DType
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
        kernel = np.asarray(_kernel(point.architecture, point.method)(params, frozen, x))
        seconds = time.perf_counter() - began
        matrix = as_matrix(kernel)
        found = spectrum(kernel)
        return Computed(np.asarray(x), kernel, found, numbers(kernel, found),
                        _error(point.architecture, params, frozen, x, matrix), seconds)


@lru_cache(maxsize=8)
def _kernel(of: Architecture, method: str) -> Program:
    """Activation parameters, frequencies and weights are arguments: a sweep over them compiles once."""
    if method != "auto":
        return partial(_by_method, of, load(method))

    def kernel(params: Params, frozen: Params, x: jax.Array) -> jax.Array:
        return ntk_fn(lambda some, points: coordinates.outputs(of, some, frozen, points))(params, x)

    return compiled(kernel)


def _by_method(of: Architecture, method: Any, params: Params, frozen: Params, x: jax.Array) -> jax.Array:
    """By a method of the registry, to which a complex parameter is two real ones."""
    leaves, structure = jax.tree.flatten(params)
    parts = [(leaf.real, leaf.imag) if jnp.iscomplexobj(leaf) else (leaf,) for leaf in leaves]
    f = jax.tree_util.Partial(_of_parts(of, structure), frozen)
    return method.kernel(f, parts, x, None, Request(dtype=cast(DType, x.dtype.name)))


@lru_cache(maxsize=8)
def _of_parts(of: Architecture, structure: Any) -> Callable[..., jax.Array]:
    """The same function at each call: what is compiled for it is found again."""
    def outputs(frozen: Params, parts: list[tuple[jax.Array, ...]], x: jax.Array) -> jax.Array:
        params = structure.unflatten([jax.lax.complex(*each) if len(each) == 2 else each[0] for each in parts])
        return coordinates.outputs(of, params, frozen, x)

    return outputs


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
