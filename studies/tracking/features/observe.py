"""`observe` and `weights`, whatever the framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, get_args

import numpy as np

from impls.own.recognise import as_network
from reference import InputError
from studies.config import nearest
from studies.tracking.units import Activation

INPUT = ":input"
"""What ends the name of a layer whose inputs are meant: those of the last layer are the last hidden features."""


class Feature(NamedTuple):
    """Of a layer: `values` (N, …), and its activation, where the layer is one whose flat parts are known."""

    values: np.ndarray
    activation: Activation | None


class Observation(NamedTuple):
    """`outputs` (N, …) of the network, and the features of the layers that were asked for, by name.

    A layer that is used several times has the features of its later uses as "name#2", "name#3".
    """

    outputs: np.ndarray
    features: Mapping[str, Feature]


def observe(model: Any, x: Any, layers: Sequence[str] = (), *, params: Any = None) -> Observation:
    """One forward pass in evaluation mode on the batch `x`, an array; the model is left as it was.

    `model` and `params` are as for `impls.ntk`. A layer is named by its path, "features.0" or "layers.2", and with
    ":input" behind it its inputs are meant. Layers are those of a `torch.nn.Module`, an Equinox module or a Flax NNX
    module: their submodules, and in JAX functions that are attributes. Raises `InputError` for a layer that is not
    there, with the nearest that is, and for one that the forward pass does not use.
    """
    adapter, found = _adapter(model, params)
    observation = adapter.observe(*found, x, tuple(dict.fromkeys(layers)))
    for name in layers:
        if name not in observation.features:
            raise InputError(f"the layer {name!r} is not used in the forward pass, or gives no array; track another")
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


def known_activation(layer: Any) -> Activation | None:
    """By the name of its class, or of the function that it is or holds; of ELU only with α = 1."""
    function = getattr(layer, "fn", layer)
    name = str(getattr(function, "__name__", type(layer).__name__)).lower()
    if name == "elu" and getattr(layer, "alpha", 1.0) != 1.0:
        return None
    return next((each for each in get_args(Activation) if each == name), None)


def split_name(name: str) -> tuple[str, bool]:
    """The layer's own path, and whether its inputs are meant."""
    return name.removesuffix(INPUT), name.endswith(INPUT)


class Recording:
    """What the layers that are watched took and gave, in the course of one forward pass."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._asked = layers
        self._uses: dict[str, int] = {}
        self.found: dict[str, Any] = {}

    @property
    def paths(self) -> list[str]:
        return list(dict.fromkeys(split_name(name)[0] for name in self._asked))

    def used(self, path: str, given: Any, got: Any) -> None:
        """The layer at `path` was called with `given` first and returned `got` (of a tuple the first)."""
        use = self._uses[path] = self._uses.get(path, 0) + 1
        got = got[0] if isinstance(got, tuple) and got else got
        for name in self._asked:
            layer, is_input = split_name(name)
            value = given if is_input else got
            if layer == path and hasattr(value, "shape") and hasattr(value, "dtype"):
                self.found[name if use == 1 else f"{name}#{use}"] = value


def missing_layer(path: str, names: Sequence[str]) -> InputError:
    return InputError(f"the network has no layer {path!r}{nearest(path, [name for name in names if name])}")


def as_features(values: Mapping[str, Any], activations: Mapping[str, Activation | None]) -> dict[str, Feature]:
    """`activations` are those of the layers by their paths; inputs of a layer have none that is known."""
    return {name: Feature(np.asarray(value), activations.get(name.partition("#")[0])) for name, value in values.items()}
