"""A case of JAX's as a function of its parameters: the shared network built, or the user's own as it is."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from impls.frameworks.jax.support import Batched, place, precision, trainable
from impls.given.user_network import UserNetwork
from reference import Case, Request


class Functional(NamedTuple):
    """A network as a batched function: ``f(params, x)`` has shape (N, …); `x2` None means x2 = x1.

    `params` is a pytree that holds the trainable parameters and nothing else.
    """

    f: Batched
    params: Any
    x1: jax.Array
    x2: jax.Array | None


def native(case: Case, request: Request) -> Functional:
    """The case's network in plain JAX, or the user's own, in the request's dtype and on its device.

    Raises `InputError` where the device is missing.
    """
    with precision(request.dtype):
        f, params = _function(case, request)
        return Functional(*place((f, params, case.x1, case.x2), request))


def _function(case: Case, request: Request) -> tuple[Batched, Any]:
    network = case.network
    if not isinstance(network, UserNetwork):
        from impls.networks import jax as jax_networks

        return jax_networks.forward(network, place(dict(case.constants), request)), dict(case.params)
    if network.framework == "equinox":
        from impls.frameworks.jax.equinox import batched

        return batched(network.model, network.params)
    return trainable(network.model, network.params)
