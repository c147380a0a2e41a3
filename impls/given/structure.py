"""Structures of arrays: tuples, dicts, dataclasses and objects that hold them, taken apart and put together again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from reference import InputError


def is_array(x: Any) -> bool:
    """Whether `x` is an array of any framework."""
    return not isinstance(x, Mapping | tuple | list) and hasattr(x, "shape") and hasattr(x, "dtype")


def is_named_tuple(x: Any) -> bool:
    """Whether `x` is of a class made by `NamedTuple`."""
    return isinstance(x, tuple) and hasattr(x, "_fields")


def is_structure(x: Any) -> bool:
    """Whether `x` is one batch of several inputs; lists and other iterables are batches."""
    if is_array(x) or isinstance(x, list | str | bytes):
        return False
    return isinstance(x, tuple | Mapping) or is_dataclass(x) or not hasattr(x, "__iter__")


def items(x: Any) -> dict[Any, Any]:
    """What stands directly in a structure, by its key, its place or the name of its attribute."""
    if isinstance(x, Mapping):
        return dict(x)
    if isinstance(x, tuple | list):
        return dict(enumerate(x))
    if is_dataclass(x):
        return {field.name: getattr(x, field.name) for field in fields(x)}
    return dict(vars(x)) if hasattr(x, "__dict__") else {}


def mapped(x: Any, function: Callable[[str, Any], Any], path: str = "") -> Any:
    """A structure like `x` with ``function(path, array)`` in place of each array; None and numbers stay as they are.

    Raises `InputError` for what is neither: text, say, whose share of an example nobody knows.
    """
    if is_array(x):
        return function(path, x)
    if x is None or isinstance(x, bool | int | float | complex):
        return x
    parts = items(x) if not isinstance(x, str | bytes) else {}
    if not parts:
        raise InputError(f"{path or 'an input'} holds a {type(x).__name__}; inputs are arrays, or structures of arrays "
                         "with one row for each example: leave it out, or choose the inputs by inputs=...")
    return _like(x, {key: mapped(part, function, f"{path}[{key!r}]") for key, part in parts.items()})


def _like(x: Any, parts: Mapping[Any, Any]) -> Any:
    if is_named_tuple(x):
        return type(x)(*parts.values())
    if isinstance(x, tuple | list):
        return type(x)(parts.values())
    if type(x) is dict:
        return dict(parts)
    other = copy.copy(x)  # its class may have a constructor of its own
    for key, part in parts.items():
        if isinstance(x, Mapping):
            other[key] = part  # pyright: ignore[reportIndexIssue]  a Mapping that is read only raises a TypeError
        else:
            object.__setattr__(other, key, part)  # frozen dataclasses as well
    return other


def leaves(x: Any, what: str) -> dict[str, Any]:
    """The arrays in `x` by their path, such as "x1['mask']"."""
    found: dict[str, Any] = {}
    mapped(x, lambda path, array: found.setdefault(path, array), what)
    return found


def constants(x: Any) -> list[Any]:
    """What stands in `x` beside its arrays: the same for all examples."""
    if is_array(x):
        return []
    parts = {} if x is None or isinstance(x, bool | int | float | complex | str | bytes) else items(x)
    return [each for part in parts.values() for each in constants(part)] if parts else [x]
