"""A case as a JAX function of its parameters, of JAX or of PyTorch."""

from __future__ import annotations

from impls.frameworks.crossing import ways
from impls.frameworks.jax.support import place, precision
from impls.networks import foreign
from impls.networks.jax_native import Functional, native
from reference import Case, Request


def unsupported_network(case: Case) -> str | None:
    """Why JAX cannot build the case's network, or run one of PyTorch, or None."""
    return ways.obstacle("jax") if foreign.is_foreign(case, "jax") else None


def functional(case: Case, request: Request) -> Functional:
    """The case's network in plain JAX, or the user's own, in the request's dtype and on its device.

    Raises `InputError` where the device is missing.
    """
    if not foreign.is_foreign(case, "jax"):
        return native(case, request)
    with precision(request.dtype):
        return Functional(*place(foreign.crossed(case, request, "jax"), request))
