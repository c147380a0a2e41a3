"""`select=`: which of a network's outputs; `where=`: which of its parameters."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from impls.given.items import describe
from impls.given.structure import is_array, items
from reference import InputError


def selected(y: Any, select: Any) -> Any:
    """The output that `select` names: a key, an attribute, a place in a tuple, or a function of what is returned.

    Raises `InputError`, with what there is, where it names none, or where a choice is needed.
    """
    if callable(select):
        return select(y)
    if select is None:
        if is_array(y) or not (found := _fields(y)):
            return y
        raise InputError(f"the model returns a {type(y).__name__} with {_listed(found)}; say which is the output whose "
                         f"kernel you want, e.g. select={_first(found)!r}, or give a function: select=lambda y: ...")
    if is_array(y):
        raise InputError(f"select={select!r}, but the model returns one array of shape {tuple(y.shape)}; leave it out, "
                         "or give a function: select=lambda y: ...")
    found = items(y)
    if isinstance(select, int) and not isinstance(select, bool):
        values = list(found.values())
        if -len(values) <= select < len(values):
            return values[select]
    elif select in found:
        return found[select]
    elif isinstance(select, str) and not isinstance(y, Mapping) and hasattr(y, select):
        return getattr(y, select)
    raise InputError(f"select={select!r}: the model returns a {type(y).__name__} with {_listed(_fields(y))}")


def _fields(y: Any) -> dict[Any, Any]:
    return {name: value for name, value in items(y).items() if value is not None}


def _listed(found: Mapping[Any, Any]) -> str:
    return ", ".join(f"{name!r} ({describe(value)})" for name, value in found.items()) or "nothing in it"


def _first(found: Mapping[Any, Any]) -> Any:
    """The first array that has an axis of examples: a loss has none."""
    arrays = [name for name, value in found.items() if is_array(value) and len(value.shape) > 0]
    return (arrays or list(found))[0]


Where = str | Iterable[str] | Callable[[str, Any], bool] | None


def names_where(params: Mapping[str, Any], where: Where) -> list[str]:
    """The names of the parameters that `where` means: a pattern ("*.lora_*"), several, or a predicate (name, value).

    Raises `InputError` for a pattern that fits none, with the names that are near.
    """
    if where is None:
        return list(params)
    if callable(where):
        found = [name for name, value in params.items() if where(name, value)]
        if not found:
            raise InputError(f"where= holds for none of the {len(params)} trainable parameters: {_some(params)}")
        return found
    patterns = [where] if isinstance(where, str) else list(where)
    if not patterns:
        raise InputError("where=[] leaves no parameter; give a pattern of names, or leave it out for all of them")
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise InputError(f"where= takes patterns of names or a predicate(name, value), got {pattern!r}")
        if not any(fnmatchcase(name, pattern) for name in params):
            near = difflib.get_close_matches(pattern.replace("*", ""), params, n=3, cutoff=0.3)
            raise InputError(f"where={pattern!r} fits no trainable parameter; " + (
                f"near are {', '.join(near)}" if near else f"there are {_some(params)}"))
    return [name for name in params if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
