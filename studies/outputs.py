"""A network's outputs, evaluated as `impls.ntk` evaluates it: batched, in evaluation mode, in its parameters' dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from impls.frameworks.arrays import to_numpy
from impls.given.user_network import UserNetwork
from impls.own.recognise import as_network
from reference import InputError


def outputs(model: Any, x: Any, *, params: Any = None) -> np.ndarray:
    """f(x), (N, …), of a `torch.nn.Module`, an Equinox or Flax NNX module, or ``f(params, x)`` of JAX or PyTorch with
    `params`. The model stays as it is. Raises `InputError` for other models."""
    network = as_network(model if params is None else (model, params))
    if network is None:
        raise InputError("a model is a torch.nn.Module, an Equinox or Flax NNX module, or f(params, x) with params=; "
                         f"got {type(model).__name__}")
    return to_numpy(_of_torch(network.model, x) if network.framework == "torch" else _of_jax(network, x))


def _of_torch(module: Any, x: Any) -> Any:
    import torch

    from impls.frameworks.torch.support import apart
    from impls.own.torch.ntk_fn import of_module

    f, params = of_module(module)
    first = next(iter(params.values()))
    examples = torch.as_tensor(x, device=first.device)
    with apart(), torch.no_grad():
        return f(params, examples.to(first.dtype) if examples.is_floating_point() else examples)


def _of_jax(network: UserNetwork, x: Any) -> Any:
    import jax.numpy as jnp

    from impls.frameworks.jax import equinox
    from impls.frameworks.jax.support import precision, trainable, widest

    with precision(widest((network.model, network.params))):
        f, leaves = (equinox.batched if network.framework == "equinox" else trainable)(network.model, network.params)
        return f(leaves, jnp.asarray(x))
