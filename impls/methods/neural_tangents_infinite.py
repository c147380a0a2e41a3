"""neural-tangents' analytic kernels of the infinitely wide network (Jacot et al. 2018; Novak et al. 2020, 1912.02803).

What it claims: with every hidden width going to infinity together, the kernel of a network in the NTK parameterization
tends to Θ(x1, x2) ⊗ I_O, whatever the draw of its N(0, 1) parameters; its average over draws is at a distance of
O(1/width), and one draw at O(1/√width). The parameters and the hidden widths of the case do not enter.
Asked for "nngp" it gives Σ, what the covariance of the outputs tends to, in both parameterizations.
Precision: for ReLU, and x1 equal to x2 or nearly, its closed form loses half the digits, up to √ε of the entry; in
float32 that makes kernels of one-dimensional inputs indefinite, and its intermediate products of two variances overflow
where the kernel does not. So it is computed in float64 whatever dtype is asked for, and float32 is the rounded result.
Converted: it gives Θ and Σ without output axes; the identity, its diagonal or its trace O are put there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp

from impls.frameworks.jax.blocks import blocked
from impls.frameworks.jax.support import precision
from impls.frameworks.jax.xla import compiled
from impls.methods.options import check_options
from impls.networks import stax as stax_networks
from impls.protocol import Framework, Kind
from reference import MLP, Case, ConvNet, Layered, Quantity, Request


@dataclass(frozen=True)
class Infinite:
    """`kernel_fn(x1, x2, quantity)` of the network in stax, computed in float64; takes no options."""

    name: str = "neural_tangents.infinite"
    framework: Framework = "jax"
    kind: Kind = "limit"
    quantities: tuple[Quantity, ...] = ("ntk", "nngp")

    def unsupported(self, case: Case, request: Request) -> str | None:
        network = case.network
        if isinstance(network, Layered):
            return ("its layers are in the standard parameterization, in which the kernel has no limit"
                    if request.quantity == "ntk" else "stax builds MLPs and ConvNets of the described networks")
        if not isinstance(network, MLP | ConvNet):
            return "an analytic kernel is known for the described networks only, not for a model of the user's own"
        if network.parameterization != "ntk" and request.quantity == "ntk":
            return "in the standard parameterization the kernel grows with the width and has no limit"
        if network.activation == "tanh":
            return "the analytic kernel of tanh has no closed form; erf has"
        if network.activation == "relu" and request.batch_size is not None:
            return ("where x1 equals x2 its closed form for ReLU keeps half the digits, and the others depend "
                    "on the size of the blocks; leave batch_size out")
        return _unsupported_padding(network) if isinstance(network, ConvNet) else None

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        network = case.network
        assert isinstance(network, MLP | ConvNet)
        check_options(self.name, request, {}, self.quantities)
        _, _, kernel_fn = stax_networks.layers(network)

        # In turn: by default the float64 program of a ConvNet on 16 images of 8×8 ends the process (SIGSEGV, jaxlib
        # 0.10.2) where the sums are not handed to the library, which `xla` has its reasons for.
        @partial(compiled, in_turn=True)
        def block(x1: jax.Array, x2: jax.Array | None) -> jax.Array:
            return _with_outputs(kernel_fn(x1, x2, request.quantity), network.n_outputs, request)

        def kernel(x1: jax.Array, x2: jax.Array | None) -> jax.Array:
            with precision("float64"):
                return blocked(block, x1, x2, request.batch_size).astype(request.dtype)

        return partial(kernel, *stax_networks.inputs(case, replace(request, dtype="float64")))


def _unsupported_padding(network: ConvNet) -> str | None:
    for conv, (_, height, width) in zip(network.convs, network.feature_shapes(), strict=False):
        if stax_networks.padding_name(conv, height, width) is None:
            return (f"stax pads 'VALID' or 'SAME'; neither is padding={conv.padding} for a {conv.kernel} kernel "
                    f"with stride {conv.stride} on a {height}×{width} image")
    return None


def _with_outputs(theta: jax.Array, n_outputs: int, request: Request) -> jax.Array:
    """Θ ⊗ I_O of shape (N1, N2, O, O), its diagonal (N1, N2, O), or its trace (N1, N2)."""
    if request.outputs == "full":
        return theta[:, :, None, None] * jnp.eye(n_outputs, dtype=theta.dtype)
    if request.outputs == "diagonal":
        return jnp.broadcast_to(theta[:, :, None], (*theta.shape, n_outputs))
    return theta * n_outputs


METHODS = (Infinite(),)
