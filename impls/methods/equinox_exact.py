"""`equinox.exact`: per-example Jacobians of every floating-point array, contracted in blocks of examples.

Cost (Novak et al. 2022, arXiv 2206.08720, table 1, "Jacobian contraction"): N·O·FP + N²O²P time, and N·O·P memory, with
N the block. Reverse mode takes O backward passes an example, forward mode P; the smaller is taken, and the
other one where JAX has no other.
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

from impls.frameworks.jax.blocks import blocked
from impls.frameworks.jax.contraction import Jacobian, contract, contract_each
from impls.frameworks.jax.loops import jacobian
from impls.frameworks.jax.support import Batched, flat_outputs, precision
from impls.frameworks.jax.xla import compiled
from impls.methods.options import check_options
from impls.networks import equinox as equinox_networks
from impls.networks.jax_case import unsupported_network
from impls.protocol import Framework, Kind
from reference import Case, Request


@dataclass(frozen=True)
class Exact:
    """Blocked Jacobian contraction in forward or reverse mode; takes no options."""

    name: str = "equinox.exact"
    framework: Framework = "jax"
    kind: Kind = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_network(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        return partial(self.kernel, *equinox_networks.functional(case, request), request)

    def kernel(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None, request: Request) -> jax.Array:
        """The kernel of a batched ``f(params, x)`` at `params`, in their dtype; see `Request` for its shape."""
        check_options(self.name, request, {})
        with precision(request.dtype):
            return blocked(partial(_contract, outputs=request.outputs), x1, x2, request.batch_size,
                           part=partial(jacobians, f, params))

    def components(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None,
                   request: Request) -> dict[str, jax.Array]:
        """The kernel of each parameter by its name; they sum to `kernel`, and cost no more."""
        check_options(self.name, request, {})
        with precision(request.dtype):
            return blocked(partial(_contract_each, outputs=request.outputs), x1, x2, request.batch_size,
                           part=partial(jacobians, f, params))


@partial(compiled, jit=eqx.filter_jit)
def jacobians(f: Batched, params: Any, x: jax.Array) -> Jacobian:
    """∂f/∂θ for each example on its own, (N, O, …) for each parameter."""

    def one(params: Any, example: jax.Array) -> jax.Array:
        return flat_outputs(f(params, example[None]), 1)[0]

    n_outputs = jax.eval_shape(one, params, x[0]).size
    n_params = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    return jax.vmap(lambda example: jacobian(lambda params: one(params, example), params,
                                             forward=n_params < n_outputs))(x)


_contract = compiled(contract, static_argnames="outputs")
_contract_each = compiled(contract_each, static_argnames="outputs")

METHODS = (Exact(),)
