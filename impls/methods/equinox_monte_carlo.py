"""`equinox.monte_carlo`: the kernel from random projections of the parameters, by forward-mode derivatives alone.

K̂ = (1/S) Σ_s (J1 v_s)(J2 v_s)ᵀ with E[v vᵀ] = 1 is unbiased; for Gaussian v and one output its variance is
(K_nm² + K_nn K_mm)/S. One set of projections serves x1 and x2. Cost: S forward-mode passes over each example and N²O²S
for the products; memory: S·N·O for the projected outputs, and a few dozen copies of the parameters.
Convention: the harness's own, nothing is converted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from impls.frameworks.jax.contraction import contract
from impls.frameworks.jax.support import Batched, flat_outputs, precision, random_key
from impls.frameworks.jax.xla import compiled
from impls.methods.options import projection_options
from impls.networks import equinox as equinox_networks
from impls.networks.jax_case import unsupported_network
from impls.protocol import Framework, Kind
from reference import Case, Request
from reference.case import Outputs

DRAWN: dict[str, Callable[..., jax.Array]] = {
    "gaussian": jax.random.normal, "rademacher": jax.random.rademacher,
}

_MOST_AT_ONCE = 64  # projections pushed through the network together: enough to fill the matrix products
_BYTES_AT_ONCE = 2**28  # of projections held at a time


@dataclass(frozen=True)
class MonteCarlo:
    """Random projections. Options: `proj_dim` (S, default 1024) and `distribution`, "gaussian" or "rademacher".

    The request's seed decides the projections: the same seed gives the same kernel bit for bit, and `batch_size`
    changes it by rounding alone.
    """

    name: str = "equinox.monte_carlo"
    framework: Framework = "jax"
    kind: Kind = "stochastic"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_network(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        projection_options(self.name, request)
        return partial(self.kernel, *equinox_networks.functional(case, request), request)

    def kernel(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None, request: Request) -> jax.Array:
        """An unbiased estimate of the kernel of a batched ``f(params, x)``, in the dtype of `params`."""
        proj_dim, distribution = projection_options(self.name, request)
        with precision(request.dtype):
            key = random_key(request.seed)
            x = x1 if x2 is None else jnp.concatenate([x1, x2])  # together, so that both see the same projections
            projected = _project(f, params, x, key, proj_dim, distribution, request.batch_size)
            return _product(projected, len(x1), x2 is None, request.outputs)


@partial(compiled, jit=eqx.filter_jit)
def _project(f: Batched, params: Any, x: jax.Array, key: jax.Array, proj_dim: int, distribution: str,
             batch_size: int | None) -> jax.Array:
    """J(x) v_s for every s: (N, O, S). Compiled by itself, it serves every `Outputs`."""
    draw = partial(_draw, params, key, DRAWN[distribution])
    all_at_once = batch_size is None or batch_size >= x.shape[0]

    def derivative(direction: Any, example: jax.Array) -> jax.Array:
        return jax.jvp(lambda params: flat_outputs(f(params, example[None]), 1)[0], (params,), (direction,))[1]

    def project_one(s: jax.Array) -> jax.Array:
        along = partial(derivative, draw(s))
        return jax.vmap(along)(x) if all_at_once else jax.lax.map(along, x, batch_size=batch_size)

    n_chunks = math.ceil(proj_dim / _most_at_once(params))
    chunk = math.ceil(proj_dim / n_chunks)  # even ones: a few projections too many cost less than a loop of their own
    projected = jax.lax.map(project_one, jnp.arange(n_chunks * chunk), batch_size=chunk)[:proj_dim]
    return jnp.moveaxis(projected, 0, -1)


@partial(compiled, static_argnums=(1, 2, 3))
def _product(projected: jax.Array, n1: int, symmetric: bool, outputs: Outputs) -> jax.Array:
    """The mean over the projections, (N, O, S), of the products of those of x1 and of x2, or of x1 with themselves."""
    return contract(projected[:n1], None if symmetric else projected[n1:], outputs) / projected.shape[-1]


def _draw(params: Any, key: jax.Array, distribution: Callable[..., jax.Array], s: jax.Array) -> Any:
    """Projection s, shaped as the parameters; it depends on the key and on s alone, not on how many are drawn."""
    flat, unravel = ravel_pytree(params)  # drawn in one piece: a draw for each parameter takes long to compile
    return unravel(distribution(jax.random.fold_in(key, s), flat.shape, flat.dtype))


def _most_at_once(params: Any) -> int:
    bytes_each = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return max(1, min(_MOST_AT_ONCE, _BYTES_AT_ONCE // bytes_each))


METHODS = (MonteCarlo(),)
