"""What is seen of a network in one forward pass, as NumPy's arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

import numpy as np

from impls.frameworks.watching import Observed
from studies.tracking.units import Activation


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


def as_observation(observed: Observed, as_array: Callable[[Any], np.ndarray] = np.asarray) -> Observation:
    """Features that a layer gives have its activation; its inputs have none that is known."""
    activations: dict[str, Activation | None] = {
        path: known_activation(layer) for path, layer in observed.layers.items()}
    return Observation(as_array(observed.outputs), {
        name: Feature(as_array(value), activations.get(name.partition("#")[0]))
        for name, value in observed.found.items()})
