"""What a model is: of which framework, and how it takes its parameters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import MethodType

from impls.given.user_network import UserNetwork


def as_network(model: object) -> UserNetwork | None:
    """A torch.nn.Module, an Equinox or Flax NNX module or a pair (f, params) as a network; None for anything else.

    A dict of tensors makes a pair one of PyTorch; JAX takes any other pytree. A pair is also an Equinox module with its
    state, or a Flax Linen module with its variables.
    """
    if _is_instance(model, "torch.nn", "Module"):
        return UserNetwork("torch", model)
    if _is_instance(model, "equinox", "Module"):
        return UserNetwork("equinox", model)
    if _is_instance(model, "flax.nnx", "Module"):
        from impls.own.jax import flax as flax_networks

        return flax_networks.nnx_network(model)
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], Callable):
        f, params = model
        if _is_instance(f, "equinox", "Module") and _is_instance(params, "equinox.nn", "State"):
            return UserNetwork("equinox", model)
        if is_linen(f):
            from impls.own.jax import flax as flax_networks

            return flax_networks.linen_network(f, params)
        if isinstance(params, dict) and any(_is_instance(p, "torch", "Tensor") for p in params.values()):
            from impls.frameworks.torch.functions import FunctionModule

            return UserNetwork("torch", FunctionModule(f, params))
        return UserNetwork("jax", f, params)
    return None


def is_linen(model: object) -> bool:
    """Whether it is a Flax Linen module, or the `apply` of one."""
    if isinstance(model, MethodType) and model.__name__ == "apply":
        model = model.__self__
    return _is_instance(model, "flax.linen", "Module")


def _is_instance(model: object, module: str, name: str) -> bool:
    """Whether `model` is one of that class; of a module that is not imported nothing can exist."""
    return module in sys.modules and isinstance(model, getattr(sys.modules[module], name))
