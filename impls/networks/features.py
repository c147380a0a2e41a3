"""Where the features of a described network are in what a framework builds of it."""

from __future__ import annotations

from impls.frameworks.watching import split_name
from impls.registry import did_you_mean
from reference import MLP, Case, ConvNet, InputError, Layered
from reference.conjugate import last_features
from reference.seen import INPUT


def asked_layer(case: Case, layer: str | None) -> tuple[str, int, bool]:
    """Name of the layer, which of its uses, from 0, and whether its inputs are meant; None is the last hidden features.

    Raises `InputError` for what is no name.
    """
    if layer is not None and not isinstance(layer, str):
        raise InputError(f"layer must be the name of one, as in 'dense1{INPUT}', got {layer!r}")
    name = last_features(case) if layer is None else layer
    (path, is_input), use = split_name(name), name.partition("#")[2]
    if use and not (use.isdigit() and int(use) > 1):
        raise InputError(f"layer={name!r}: a later use of a layer is name#2, name#3, and so on")
    return path, int(use or 1) - 1, is_input


def place_in_layers(case: Case, name: str, use: int) -> int:
    """Of a `Layered` network, the place among its layers of that use of that name."""
    assert isinstance(case.network, Layered)
    names = [getattr(layer, "name", None) for layer in case.network.layers]
    places = [i for i, each in enumerate(names) if each == name]
    if use >= len(places):
        raise InputError(f"case {case.name!r} has no layer {name!r}" + (
            f" that is used {use + 1} times" if places else did_you_mean(name, [each for each in names if each])))
    return places[use]


def check_layer(case: Case, name: str, use: int) -> None:
    """Raise `InputError` for a layer that an `MLP` or a `ConvNet` does not have."""
    assert isinstance(case.network, MLP | ConvNet)
    known = list(dict.fromkeys(each.partition(".")[0] for each in case.network.param_shapes()))
    if name not in known or use:
        raise InputError(f"case {case.name!r} has no layer {name!r}" + (
            f" that is used {use + 1} times" if name in known else did_you_mean(name, known)))
