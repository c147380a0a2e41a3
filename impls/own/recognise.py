"""What a model is: of which framework, and how it takes its parameters."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, Literal

import numpy as np

from impls.given.user_network import UserNetwork
from reference import InputError


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


def user_network(model: Any, params: Any) -> UserNetwork:
    """The network of `impls.ntk`'s `model` and `params`. Raises `InputError` for what is none."""
    network = as_network((model, params) if is_linen(model) else model)
    if network is not None and network.framework == "jax":
        if params is not None and not is_linen(model):
            raise InputError("this model carries its parameters: leave params out")
        return network
    if network is not None:
        return UserNetwork(network.framework, network.model, params)
    if isinstance(model, type) or not callable(model):
        raise InputError(f"model must be a torch.nn.Module, an Equinox module or a function f(params, x), got "
                         f"{reprlib.repr(model)}")
    if params is None:
        raise InputError("a function needs its parameters: ntk(f, x1, params=...), called as f(params, x)")
    return UserNetwork(_framework_of(params), model, params)


def _framework_of(params: Any) -> Literal["jax", "torch"]:
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and isinstance(params, Mapping) and params and all(
            isinstance(value, torch.Tensor) for value in params.values()):
        return "torch"
    leaves = [] if jax is None else jax.tree.leaves(params)
    is_torch = torch is not None and any(isinstance(leaf, torch.Tensor) for leaf in leaves)
    if jax is not None and not is_torch and any(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        return "jax"
    raise InputError("params must be a dict from names to torch tensors, or a pytree of JAX arrays; got "
                     f"{type(params).__name__} without any")


def is_linen(model: object) -> bool:
    """Whether it is a Flax Linen module, or the `apply` of one."""
    if isinstance(model, MethodType) and model.__name__ == "apply":
        model = model.__self__
    return _is_instance(model, "flax.linen", "Module")


def _is_instance(model: object, module: str, name: str) -> bool:
    """Whether `model` is one of that class; of a module that is not imported nothing can exist."""
    return module in sys.modules and isinstance(model, getattr(sys.modules[module], name))
