"""Which items of a batch are the network's inputs: `inputs=`, or what the network's signature leaves no doubt of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from impls.given.loader import read_apart
from impls.given.structure import is_array, is_named_tuple, is_structure, items
from impls.registry import did_you_mean
from reference import InputError

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Takes:
    """What a network takes: at most `most` inputs by place, `needed` of them at least, and those of `names` by name."""

    most: float = 1
    needed: int = 1
    names: frozenset[str] = frozenset()
    any_name: bool = False

    @property
    def several(self) -> bool:
        return self.most > 1

    def accepts(self, name: Any) -> bool:
        return self.any_name or name in self.names


ONE = Takes()
"""A function f(params, x), or an unknown signature: x is one input, whatever it is made of."""


def takes(function: Callable[..., Any]) -> Takes:
    """Read from the signature; a parameter whose default is a flag, a number or text takes no input by place."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ONE
    kinds = {parameter.kind for parameter in parameters}
    data = [each for each in parameters if each.kind in POSITIONAL
            and not isinstance(each.default, bool | int | float | str)]
    most = float("inf") if inspect.Parameter.VAR_POSITIONAL in kinds else len(data)
    return Takes(most, sum(each.default is each.empty for each in data),
                 frozenset(each.name for each in parameters if each.kind in NAMED),
                 inspect.Parameter.VAR_KEYWORD in kinds)


def spread(x: Any, of: Takes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """x as arguments by place and by name, as far as the network takes them so: a tuple by place, a mapping by name,
    and a named tuple or a dataclass where the network has arguments of all its names."""
    if type(x) is tuple and (len(x) <= of.most or len(x) == 1):
        return x, {}
    if is_named_tuple(x) and 1 < of.needed <= len(x) <= of.most:
        return tuple(x), {}
    if isinstance(x, Mapping) and x and all(of.accepts(name) for name in x):
        return (), dict(x)
    if (is_named_tuple(x) or is_dataclass(x)) and (named := _by_name(x)) and of.names.issuperset(named):
        return (), named
    return (x,), {}


def _by_name(x: Any) -> dict[str, Any]:
    return dict(zip(x._fields, x, strict=True)) if is_named_tuple(x) else items(x)


class Chosen:
    """Batches, of each what the network takes; as often as `source` can be read."""

    def __init__(self, source: Any, what: str, of: Takes, inputs: Any) -> None:
        self.source, self.what, self.of, self.inputs = source, what, of, inputs

    def __iter__(self) -> Iterator[Any]:
        return map(self._chosen, self.source)

    def __getitem__(self, number: int) -> Any:
        return self._chosen(self.source[number])

    def _chosen(self, batch: Any) -> Any:
        return chosen(batch, f"a batch of {self.what}", self.of, self.inputs, listed=isinstance(self.source, list))


def inputs_of(x: Any, what: str, of: Takes, inputs: Any) -> Any:
    """x1 or x2 with nothing but the network's inputs: an array, a structure, or batches of either.

    Raises `InputError` for items that it is not sure of; it names them, and how to say it.
    """
    if x is None:
        raise InputError(f"{what} is None; give the examples: an array, a structure of arrays, or batches of either")
    x = read_apart(x, what)
    if is_array(x) or isinstance(x, Iterator | str | bytes) or not (is_structure(x) or hasattr(x, "__iter__")):
        if inputs is not None and is_array(x):
            raise InputError(f"inputs={inputs!r} chooses among the items of a batch, and {what} is a single array; "
                             "leave it out")
        return x
    if is_structure(x):
        return _of_structure(x, what, of, inputs)
    return Chosen(x, what, of, inputs)


def chosen(batch: Any, what: str, of: Takes, inputs: Any, *, listed: bool = False) -> Any:
    """What the network takes of one batch. `listed`: the user put it into a list, so that a tuple is a structure where
    the network takes as many inputs."""
    if is_array(batch) and inputs is None:
        return batch
    if isinstance(batch, list | tuple) and not is_named_tuple(batch):
        return _of_sequence(batch, what, of, inputs, listed=listed)
    return _of_structure(batch, what, of, inputs)


def _of_sequence(batch: Sequence[Any], what: str, of: Takes, inputs: Any, *, listed: bool) -> Any:
    if inputs is not None:
        return _asked(batch, what, inputs)
    if len(batch) == 1:
        return batch[0]
    if len(batch) == 2 and not of.several:
        return batch[0]  # (x, y), of which a network of one input takes x
    if listed and of.needed <= len(batch) <= of.most:
        return tuple(batch)
    found = ", ".join(f"{place}: {describe(item)}" for place, item in enumerate(batch))
    every = tuple(range(max(1, len(batch) - 1)))
    raise InputError(f"{what} has {len(batch)} items ({found}), and the network takes "
                     f"{_several(of)}; say which are its inputs, e.g. inputs={every if len(every) > 1 else 0} or "
                     f"inputs={tuple(range(len(batch)))}")


def _of_structure(x: Any, what: str, of: Takes, inputs: Any) -> Any:
    if inputs is not None:
        return _asked(x, what, inputs)
    if type(x) is tuple and of.several and len(x) > of.most:
        raise InputError(f"{what} has {len(x)} items, and the network takes {_several(of)}; say which are its inputs, "
                         f"e.g. inputs={tuple(range(int(of.most)))}")
    if isinstance(x, Mapping):
        unknown = [name for name in x if not of.accepts(name)]
        if unknown and len(unknown) < len(x):
            known = [name for name in x if of.accepts(name)]
            raise InputError(f"the network takes no {', '.join(map(repr, unknown))} of {what}; say which items are its "
                             f"inputs, e.g. inputs={tuple(known) if len(known) > 1 else known[0]!r} (a dict that is "
                             "one input as a whole is given in a tuple: (x,))")
    return x


def _asked(x: Any, what: str, inputs: Any) -> Any:
    """As `inputs` says: a key or place for one item, several for several, or a function of the batch."""
    if callable(inputs):
        return inputs(x)
    found = items(x) if not is_array(x) else {}
    several = isinstance(inputs, list | tuple)
    keys = [_place(key, found) for key in inputs] if several else [_place(inputs, found)]
    for key in keys:
        if key not in found:
            raise InputError(f"inputs={inputs!r}: {what} has no item {key!r}"
                             f"{did_you_mean(str(key), [str(k) for k in found])}")
    if not several:
        return found[keys[0]]
    by_name = isinstance(x, Mapping) or all(isinstance(key, str) for key in keys)
    return {key: found[key] for key in keys} if by_name else tuple(found[key] for key in keys)


def _place(key: Any, found: Mapping[Any, Any]) -> Any:
    """Places count from the end where they are negative."""
    return len(found) + key if isinstance(key, int) and key < 0 and key not in found else key


def _several(of: Takes) -> str:
    if of.most == float("inf"):
        return "any number of inputs"
    return "one input" if of.most <= 1 else f"up to {int(of.most)}, {of.needed} at least"


def describe(item: Any) -> str:
    """Shape and dtype of an array, else the kind of the thing."""
    return f"{tuple(item.shape)} {str(item.dtype).removeprefix('torch.')}" if is_array(item) else type(item).__name__
