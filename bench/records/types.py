"""Whether values that come from outside are of the types that a record says."""

from __future__ import annotations

import functools
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_LARGEST_INTEGER = 2**63 - 1


def fits(value: Any, hint: Any) -> bool:
    """Whether `value` is of that type, to the bottom. An integer is a float too, and has 64 bits."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is dict:
        return isinstance(value, dict) and all(
            fits(key, arguments[0]) and fits(each, arguments[1]) for key, each in value.items())
    if origin in (tuple, list):
        return isinstance(value, origin) and all(fits(each, arguments[0]) for each in value)
    if hint in (int, float):
        integer = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_INTEGER
        return integer or (hint is float and isinstance(value, float))
    return isinstance(value, hint)


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    """Field → type of a dataclass."""
    return get_type_hints(kind)
