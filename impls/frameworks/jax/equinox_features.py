"""What layers of Equinox's modules take and give, for one example each: by a copy in inference mode whose named layers
say what they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from impls.frameworks.watching import Observed, Recording, missing_layer


def observe(model: Any, x: Any, layers: Sequence[str]) -> Observed:
    """One forward pass on the batch `x`; a module with state is a pair (module, state)."""
    module, *state = model if isinstance(model, tuple) else (model,)
    module = eqx.nn.inference_mode(module)
    recording = Recording(layers)
    watched_layers = {path: at(module, path) for path in recording.paths}
    # A layer's own layers first, so that it holds them when it is replaced itself.
    for path in sorted(recording.paths, key=lambda path: -path.count(".")):
        layer = at(module, path)
        module = eqx.tree_at(lambda tree, path=path: at(tree, path), module, watched(layer, path, recording.used),
                             is_leaf=lambda each, layer=layer: each is layer)

    def one(example: Any) -> tuple[Any, dict[str, Any]]:
        outputs = module(example, *state)
        return outputs[0] if state else outputs, dict(recording.found)

    outputs, found = jax.vmap(one)(jnp.asarray(x))
    return Observed(outputs, found, watched_layers)


def at(tree: Any, path: str) -> Any:
    """What is at "layers.2" or "parts.first". Raises `InputError` with what there is instead."""
    place, so_far = tree, ""
    for key in path.split("."):
        children = children_of(place)
        if key not in children:
            raise missing_layer(path, [f"{so_far}{child}" for child in children])
        place, so_far = children[key], f"{so_far}{key}."
    return place


def children_of(place: Any) -> dict[str, Any]:
    """By the names that a path has for them: attributes, keys, and numbers in a sequence."""
    if isinstance(place, dict):
        return {str(key): value for key, value in place.items()}
    if isinstance(place, list | tuple):
        return {str(i): value for i, value in enumerate(place)}
    return {name: value for name, value in vars(place).items() if not name.startswith("_")} if hasattr(
        place, "__dict__") else {}


def watched(layer: Any, path: str, used: Callable[[str, Any, Any], None]) -> Any:
    """The same layer, which tells what it was given and what it gave. It is of its own class still, and of one more."""
    if not isinstance(layer, eqx.Module):
        return watched_function(layer, path, used)
    kind: Any = type(layer)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        got = kind.__call__(self, *args, **kwargs)
        used(path, args[0] if args else None, got)
        return got

    new = object.__new__(type(kind)(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__}))
    for name, value in vars(layer).items():
        object.__setattr__(new, name, value)
    return new


def watched_function(function: Any, path: str, used: Callable[[str, Any, Any], None]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        got = function(*args, **kwargs)
        used(path, args[0] if args else None, got)
        return got

    return call
