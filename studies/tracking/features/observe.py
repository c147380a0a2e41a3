"""`observe` and `weights`, whatever the framework."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from impls.frameworks.watching import check_found
from impls.own.recognise import as_network
from reference import InputError
from studies.tracking.features.observation import Observation


def observe(model: Any, x: Any, layers: Sequence[str] = (), *, params: Any = None) -> Observation:
    """One forward pass in evaluation mode on the batch `x`, an array; the model is left as it was.

    `model` and `params` are as for `impls.ntk`. A layer is named by its path, "features.0" or "layers.2", and with
    ":input" behind it its inputs are meant. Layers are those of a `torch.nn.Module`, an Equinox module or a Flax NNX
    module: their submodules, and in JAX functions that are attributes. Raises `InputError` for a layer that is not
    there, with the nearest that is, and for one that the forward pass does not use.
    """
    adapter, found = _adapter(model, params)
    observation = adapter.observe(*found, x, tuple(dict.fromkeys(layers)))
    check_found(layers, observation.features)
    return observation


def weights(model: Any, *, params: Any = None) -> dict[str, np.ndarray]:
    """The trainable parameters by name, copied."""
    adapter, found = _adapter(model, params)
    return adapter.weights(*found)


def _adapter(model: Any, params: Any) -> tuple[ModuleType, tuple[Any, ...]]:
    """The module that knows such networks, and what it takes."""
    network = as_network(model if params is None else (model, params))
    if network is None:
        raise InputError(f"a network is a torch.nn.Module, an Equinox or Flax NNX module, or f(params, x) with params, "
                         f"got {type(model).__name__}")
    if network.framework == "torch":
        from studies.tracking.features import torch as adapter
    elif network.framework == "equinox":
        from studies.tracking.features import equinox as adapter
    elif params is None and not isinstance(model, tuple):
        from studies.tracking.features import flax as adapter
    else:
        from studies.tracking.features import function as adapter

        return adapter, (network.model, network.params)
    return adapter, (model if network.framework != "torch" else network.model,)
