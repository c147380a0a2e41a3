"""A user's JAX or Equinox model in float64: reverse mode one example at a time, and both modes for all in a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from bench.truth.rounding_jax import moved, rounded
from impls.frameworks.jax.bits import keeps_fewer_bits
from impls.frameworks.jax.support import flat_outputs, precision
from impls.networks.jax_case import functional
from reference import Case, Request


@dataclass(frozen=True, eq=False)
class JaxProbe:
    """See `bench.truth.probe.Probe`. With a `unit`, everything is moved by up to that, relatively."""

    f: Callable[[jax.Array, jax.Array], jax.Array]
    """(parameters as one vector, x) to outputs (N, O)."""
    params: jax.Array
    x1: jax.Array
    x2: jax.Array | None
    n_outputs: int
    compiled: dict[str, Any]
    """Shared by all that differ in `unit` and `seed` alone."""
    unit: float = 0.0
    seed: int = 0
    in_batches: bool = True

    @classmethod
    def of(cls, case: Case) -> JaxProbe:
        given = functional(case, Request(dtype="float64"))
        with precision("float64"):
            params, unravel = ravel_pytree(given.params)

            def f(params: jax.Array, x: jax.Array) -> jax.Array:
                return flat_outputs(given.f(unravel(params), x), len(x))

            n_outputs = jax.eval_shape(f, params, given.x1[:1]).shape[1]
            return cls(f, params, given.x1, given.x2, n_outputs, {})

    @property
    def same(self) -> bool:
        return self.x2 is None

    @property
    def n_params(self) -> int:
        return self.params.size

    def examples(self, which: int, some: Sequence[int] | None = None) -> jax.Array:
        x = self.x1 if which == 1 or self.x2 is None else self.x2
        with precision("float64"):
            return x if some is None else x[np.array(some)]

    def values(self, x: jax.Array, step: np.ndarray | None = None) -> np.ndarray:
        return self._call("values", lambda p, x, step: self.f(p + step, x), x,
                          np.zeros(self.n_params) if step is None else step)

    def jacobian(self, x: jax.Array, outputs: Sequence[int]) -> np.ndarray:
        def one(params: jax.Array, example: jax.Array, rows: jax.Array) -> jax.Array:
            _, pull = jax.vjp(lambda p: self.f(p, example[None])[0], params)
            return jax.vmap(lambda row: pull(row)[0])(rows)

        rows = np.eye(self.n_outputs)[list(outputs)]
        with precision("float64"):
            return np.stack([self._call("jacobian", one, example, rows) for example in x])

    def vjp(self, x: jax.Array, u: np.ndarray) -> np.ndarray:
        return self._call("vjp", lambda p, x, u: jax.vjp(lambda p: self.f(p, x), p)[1](u)[0], x, u)

    def jvp(self, x: jax.Array, w: np.ndarray) -> np.ndarray:
        return self._call("jvp", lambda p, x, w: jax.jvp(lambda p: self.f(p, x), (p,), (w,))[1], x, w)

    def rounded(self, unit: float, seed: int) -> JaxProbe:
        with precision("float64"):
            keys = jax.random.split(jax.random.key(seed), 3)
            params, x1 = moved(self.params, unit, keys[0]), moved(self.x1, unit, keys[1])
            x2 = None if self.x2 is None else moved(self.x2, unit, keys[2])
        return replace(self, params=params, x1=x1, x2=x2, unit=unit, seed=seed)

    def float32_inside(self) -> bool:
        with precision("float64"):
            return keeps_fewer_bits(jax.make_jaxpr(self.f)(self.params, self.x1[:1]).jaxpr)

    def _call(self, name: str, function: Callable[..., jax.Array], *arguments: Any) -> np.ndarray:
        key = f"{name} rounded" if self.unit else name
        with precision("float64"):
            if key not in self.compiled:
                self.compiled[key] = jax.jit(rounded(function) if self.unit else function)
            arrays = [jnp.asarray(argument) for argument in arguments]
            if self.unit:
                return np.asarray(self.compiled[key](jax.random.key(self.seed), self.unit, self.params, *arrays))
            return np.asarray(self.compiled[key](self.params, *arrays))
