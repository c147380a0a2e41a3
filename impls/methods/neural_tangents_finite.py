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

from impls.frameworks.jax.blocks import blocked
from impls.frameworks.jax.loops import reverse_mode
from impls.frameworks.jax.neural_tangents import load
from impls.frameworks.jax.support import Batched, flat_outputs, leaf_names, precision, with_others_frozen
from impls.frameworks.jax.xla import compiled
from impls.methods.options import check_options
from impls.networks import jax_case
from impls.networks import stax as stax_networks
from impls.networks.jax_case import unsupported_network
from impls.protocol import Framework, Kind
from reference import MLP, Case, ConvNet, Request
from reference.case import Outputs

nt = load()

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
        check_options(self.name, request, {})
        # stax has no batch normalisation, no learned scale in LayerNorm, no embedding, no tied or frozen parameters.
        build = stax_networks if isinstance(case.network, MLP | ConvNet) else jax_case
        return partial(self.kernel, *build.functional(case, request), request)

    def kernel(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None, request: Request) -> jax.Array:
        """The kernel of a batched ``f(params, x)`` at `params`, in their dtype; see `Request` for its shape.

        Compiled once for each f and each shape of a block. Raises `NotImplementedError` where structured
        derivatives have no rule for an operation, or reverse mode passes no loop.
        """
        check_options(self.name, request, {})
        arrays, static = _split(f)
        block = partial(_block, arrays, params, static=static, implementation=self.implementation,
                        outputs=request.outputs)
        with precision(request.dtype), reverse_mode(self.name):
            return blocked(block, x1, x2, request.batch_size)

    def components(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None,
                   request: Request) -> dict[str, jax.Array]:
        """The kernel of each parameter by its name, the others frozen; compiled for each of them."""
        return {name: self.kernel(with_others_frozen(f, params, i), leaf, x1, x2, request)
                for i, (name, leaf) in enumerate(zip(leaf_names(params), jax.tree.leaves(params), strict=True))}


@partial(compiled, static_argnames=("static", "implementation", "outputs"))
def _block(arrays: list[Any], params: Any, x1: jax.Array, x2: jax.Array | None, *, static: Any, implementation: Any,
           outputs: Outputs) -> jax.Array:
    f = _join(arrays, static)

    def flat(params: Any, x: jax.Array) -> jax.Array:
        return flat_outputs(f(params, x), x.shape[0])

    ntk = nt.empirical_ntk_fn(flat, **AXES[outputs], vmap_axes=0, implementation=implementation)
    values = ntk(x1, x2, params)
    return values * jax.eval_shape(flat, params, x1).shape[1] if outputs == "trace" else values


def _split(f: Batched) -> tuple[list[Any], tuple[Any, ...]]:
    """The arrays in f (it may be an Equinox module), which are arguments, and the rest, which is compiled in."""
    leaves, structure = jax.tree.flatten(f)
    arrays = [leaf if isinstance(leaf, jax.Array) else None for leaf in leaves]
    return arrays, (structure, *(None if isinstance(leaf, jax.Array) else leaf for leaf in leaves))


def _join(arrays: list[Any], static: tuple[Any, ...]) -> Batched:
    structure, *rest = static
    return structure.unflatten([leaf if array is None else array for array, leaf in zip(arrays, rest, strict=True)])


METHODS = tuple(Finite(f"neural_tangents.{implementation.name.lower()}", implementation)
                for implementation in nt.NtkImplementation)
