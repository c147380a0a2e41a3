"""Of Flax NNX modules: by a copy in evaluation mode whose named layers say what they do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from impls.frameworks.jax.params import leaf_names
from studies.tracking.features.equinox import watched_function
from studies.tracking.features.observation import Observation, Recording, as_features, known_activation, missing_layer
from studies.tracking.units import Activation


def observe(model: nnx.Module, x: Any, layers: tuple[str, ...]) -> Observation:
    copy = nnx.merge(*nnx.split(model))
    copy.eval()
    recording = Recording(layers)
    activations: dict[str, Activation | None] = {}
    for path in recording.paths:
        parent, key = _place(copy, path)
        layer = _child(parent, key)
        activations[path] = known_activation(layer)
        _watch(parent, key, layer, path, recording)
    outputs = copy(jnp.asarray(x))  # pyright: ignore[reportCallIssue]
    return Observation(np.asarray(outputs), as_features(recording.found, activations))


def weights(model: nnx.Module) -> dict[str, np.ndarray]:
    found, _ = jax.tree_util.tree_flatten_with_path(nnx.state(model, nnx.Param))
    names = [name.removesuffix(".value") for name in leaf_names(path for path, _ in found)]
    return {name: np.asarray(leaf) for name, (_, leaf) in zip(names, found, strict=True)}


def _watch(parent: Any, key: str, layer: Any, path: str, recording: Recording) -> None:
    """A module gets a class of its own; a function that is an attribute is replaced."""
    if not isinstance(layer, nnx.Module):
        return setattr(parent, key, watched_function(layer, path, recording.used))
    kind: Any = type(layer)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        got = kind.__call__(self, *args, **kwargs)
        recording.used(path, args[0] if args else None, got)
        return got

    layer.__class__ = type(kind)(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__})
    return None


def _place(module: Any, path: str) -> tuple[Any, str]:
    """What holds the layer, and by which name. Raises `InputError` with what there is instead."""
    *parents, last = path.split(".")
    place, so_far = module, ""
    for key in [*parents, last]:
        names = _children(place)
        if key not in names:
            raise missing_layer(path, [f"{so_far}{name}" for name in names])
        if key is not last:
            place, so_far = _child(place, key), f"{so_far}{key}."
    return place, last


def _children(place: Any) -> list[str]:
    if isinstance(place, list | tuple | nnx.List):
        return [str(i) for i in range(len(place))]
    if isinstance(place, dict):
        return [str(key) for key in place]
    return [name for name in vars(place) if not name.startswith("_")] if hasattr(place, "__dict__") else []


def _child(place: Any, key: str) -> Any:
    if isinstance(place, list | tuple | nnx.List):
        return place[int(key)]
    return place[key] if isinstance(place, dict) else getattr(place, key)
