"""`equinox.nngp` and `flax.nngp`: the covariance of the outputs over initialisations, from networks drawn anew.

What they compute is the kernel of the network as wide as it is (reference/DEFINITION.md, "nngp"), by the average of S
draws, which is what `impls.nngp` does with a factory of the user's own. For an entry of variance σ² each its standard
error is about √(K_nm² + K_nn K_mm)/√S, more where the network is narrow. The parameters of the case do not enter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp

from impls.frameworks.jax.initialisations import Draws, Make, Run, average
from impls.frameworks.jax.support import place, precision, random_key
from impls.methods.options import sample_options
from impls.networks import equinox as equinox_networks
from impls.networks.equinox_layers import build as build_layered
from impls.networks.jax_drawn import draw_params
from impls.protocol import Framework, Kind
from reference import MLP, Case, ConvNet, Described, Layered, Quantity, Request


def equinox_factory(case: Case, request: Request) -> tuple[Make, Run]:
    """The described network of Equinox's layers, from a key."""
    network = case.network
    constants = place(dict(case.constants), request)

    def make(key: jax.Array) -> eqx.Module:
        assert isinstance(network, Described)
        params = draw_params(network, key, request.dtype)
        if isinstance(network, Layered):
            return build_layered(network, params, constants)[0]
        return equinox_networks.build(network, params)

    return make, lambda model, x: jax.vmap(model)(x)


def flax_factory(case: Case, request: Request) -> tuple[Make, Run]:
    """The described network of Flax's layers, which it initialises itself, from a key."""
    from flax import nnx

    from impls.networks.flax import Built

    network = case.network
    assert isinstance(network, MLP | ConvNet)
    return lambda key: Built(network, request.dtype, nnx.Rngs(key)), lambda model, x: model(x)


@dataclass(frozen=True)
class Initialisations:
    """Option: `n_samples` (S, default 1024). The request's seed decides the draws; `batch_size` does not."""

    name: str
    factory: Callable[[Case, Request], tuple[Make, Run]]
    networks: tuple[type, ...]
    framework: Framework = "jax"
    kind: Kind = "stochastic"
    quantities: tuple[Quantity, ...] = ("nngp",)

    def unsupported(self, case: Case, request: Request) -> str | None:
        if not isinstance(case.network, Described):
            return "of a model of the user's own it needs what draws it anew: impls.nngp(factory, x1)"
        if not isinstance(case.network, self.networks):
            return f"the networks of layers are not built of {self.name.partition('.')[0]}'s"
        return None

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        n_samples = sample_options(self.name, request)
        with precision(request.dtype):
            draws = Draws(*self.factory(case, request), n_samples)
            x = place(case.x1 if case.x2 is None else jnp.concatenate([case.x1, case.x2]), request)

        def kernel() -> jax.Array:
            with precision(request.dtype):
                drawn = draws.outputs(random_key(request.seed), x, request.batch_size)
                return average(drawn, len(case.x1), case.symmetric, request.outputs)

        return kernel


METHODS = (Initialisations("equinox.nngp", equinox_factory, (MLP, ConvNet, Layered)),
           Initialisations("flax.nngp", flax_factory, (MLP, ConvNet)))
