"""neural-tangents' finite-width kernels: its three implementations, and its AUTO (Novak et al. 2022, arXiv 2206.08720).

The shared networks are built with its own stax; any other ``f(params, x)`` is taken as it is. Converted: its trace is
the mean over outputs, here it is their sum; outputs of more than one axis are flattened; its `batch` needs sizes that
divide the number of examples, so the blocks are made here. ``vmap_axes=0`` says that f treats examples one by one, as
its documentation recommends for networks without batch statistics.

Cost, table 1 there: Jacobian contraction N·O·FP + N²O²P; NTK-vector products N²O·FP; structured derivatives, for a
fully connected network, N·L·O·W² + N²LO²W.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from impls import jax_support, stax_networks
from impls.jax_blocks import blocked
from impls.jax_support import Batched, flat_outputs, precision, unsupported_network
from impls.neural_tangents_compat import load
from impls.options import check_options
from impls.protocol import Framework, Kind
from reference import MLP, Case, ConvNet, Request

nt = load()

Kernel = Callable[[Any, jax.Array, jax.Array | None], jax.Array]
"""(params, x1, x2) to the kernel"""

AXES = {
    "full": {"trace_axes": (), "diagonal_axes": ()},
    "diagonal": {"trace_axes": (), "diagonal_axes": (-1,)},
    "trace": {"trace_axes": (-1,), "diagonal_axes": ()},
}


@dataclass(frozen=True)
class Finite:
    """One of `neural_tangents.NtkImplementation`; takes no options."""

    name: str
    implementation: Any
    framework: Framework = "jax"
    kind: Kind = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_network(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        # stax has no batch normalisation, no learned scale in LayerNorm, no embedding, no tied or frozen parameters.
        build = stax_networks if isinstance(case.network, MLP | ConvNet) else jax_support
        f, *arguments = build.functional(case, request)
        return partial(self._compiled(f, request), *arguments)

    def kernel(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None, request: Request) -> jax.Array:
        """The kernel of a batched ``f(params, x)`` at `params`, in their dtype; see `Request` for its shape.

        neural-tangents raises `NotImplementedError` where structured derivatives have no rule for an operation.
        """
        return self._compiled(f, request)(params, x1, x2)

    def _compiled(self, f: Batched, request: Request) -> Kernel:
        """The kernel as a function that is compiled for each shape when it is first met."""
        check_options(self.name, request, {})

        def flat(params: Any, x: jax.Array) -> jax.Array:
            return flat_outputs(f(params, x), x.shape[0])

        ntk = nt.empirical_ntk_fn(flat, **AXES[request.outputs], vmap_axes=0, implementation=self.implementation)

        @jax.jit
        def block(params: Any, x1: jax.Array, x2: jax.Array | None) -> jax.Array:
            values = ntk(x1, x2, params)
            n_outputs = jax.eval_shape(flat, params, x1).shape[1]
            return values * n_outputs if request.outputs == "trace" else values

        def kernel(params: Any, x1: jax.Array, x2: jax.Array | None) -> jax.Array:
            with precision(request.dtype):
                return blocked(partial(block, params), x1, x2, request.batch_size)

        return kernel


METHODS = tuple(Finite(f"neural_tangents.{implementation.name.lower()}", implementation)
                for implementation in nt.NtkImplementation)
