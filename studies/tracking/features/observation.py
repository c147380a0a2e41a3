"""What is seen of a network in one forward pass, and what its adapters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np

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
