"""What the named layers of a user's network take and give in one forward pass, for any framework.

Names are as in the reference (`reference.seen`): a layer's path, "features.0" or "layers.2", for what it gives, with
":input" behind it for what it takes, and "#2", "#3" for its later uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from impls.registry import did_you_mean
from reference import InputError
from reference.seen import INPUT


class Observed(NamedTuple):
    """`outputs` of the network, the framework's own arrays that were `found` by name, and the `layers` by path."""

    outputs: Any
    found: Mapping[str, Any]
    layers: Mapping[str, Any]


def split_name(name: str) -> tuple[str, bool]:
    """The layer's own path, and whether its inputs are meant; the number of a later use is left away."""
    name = name.partition("#")[0]
    return name.removesuffix(INPUT), name.endswith(INPUT)


class Recording:
    """What the layers that are watched took and gave, in the course of one forward pass."""

    def __init__(self, names: Sequence[str]) -> None:
        self._asked = list(dict.fromkeys(name.partition("#")[0] for name in names))
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
    return InputError(f"the network has no layer {path!r}{did_you_mean(path, [name for name in names if name])}")


def check_found(names: Sequence[str], found: Mapping[str, Any]) -> None:
    """Raise `InputError` for a layer that the forward pass did not use, or not so often."""
    for name in names:
        if name not in found:
            raise InputError(f"the layer {name!r} is not used in the forward pass, or gives no array; name another")
