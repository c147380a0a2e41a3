"""What layers of Flax NNX modules take and give: by a copy in evaluation mode whose named layers say what they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from impls.frameworks.jax.equinox_features import watched_function
from impls.frameworks.watching import Observed, Recording, missing_layer


def observe(model: nnx.Module, x: Any, layers: Sequence[str]) -> Observed:
    """One forward pass on the batch `x`."""
    copy = nnx.merge(*nnx.split(model))
    copy.eval()
    recording = Recording(layers)
    watched_layers: dict[str, Any] = {}
    for path in recording.paths:
        parent, key = _place(copy, path)
        watched_layers[path] = _child(parent, key)
        _watch(parent, key, watched_layers[path], path, recording)
    outputs = copy(jnp.asarray(x))  # pyright: ignore[reportCallIssue]
    return Observed(outputs, recording.found, watched_layers)


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
