"""A study's configuration: a TOML file and the command line, read into one dataclass.

A key of the file is a field, a table is a field that is a dataclass itself, and ``[network] width = 64`` is
``--network.width 64``. What stands in the file outweighs the default, what stands on the command line outweighs both.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from reference import InputError

T = TypeVar("T")

_SIMPLE: Mapping[type, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,), Path: (str,)}
_IN_WORDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a string",
                                 Path: "a path, as a string"}


def command_line(kind: type[T], arguments: Sequence[str], prog: str) -> T:
    """What ``PROG [CONFIG.toml] [--field VALUE …]`` says; the first argument is a file unless it begins with a dash.

    Raises `InputError` for the file, as `read` does; what is wrong with the flags ends the program as tyro does it.
    """
    import tyro

    rest = list(arguments)
    default = read(Path(rest.pop(0)), kind) if rest and not rest[0].startswith("-") else kind()
    return tyro.cli(kind, args=rest, default=default, prog=f"{prog} [CONFIG.toml]")


def read(path: Path, kind: type[T]) -> T:
    """The file as an instance of `kind`, a dataclass.

    Raises `InputError` for a file that is missing or no TOML, for a key that `kind` does not have, with the nearest
    that it has, and for a value of another type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the configuration {str(path)!r} is not read ({error.strerror or error}); the first argument "
                         "is a TOML file, all others begin with a dash") from error
    except ValueError as error:  # also of what is no UTF-8
        raise InputError(f"{path.name} is no TOML: {error}") from error
    return from_table(table, kind, path.name)


def from_table(table: Mapping[str, Any], kind: type[T], where: str = "the configuration") -> T:
    """An instance of the dataclass `kind` from a table as `tomllib` gives it; `where` names it in errors."""
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # pyright: ignore[reportArgumentType]
    hints = get_type_hints(kind)
    for name in table:
        if name not in fields:
            raise InputError(f"{where} has an unknown key {name!r}{nearest(name, fields)}")
    values = {name: _value(value, hints[name], f"{where}: {name}") for name, value in table.items()}
    missing = [name for name, field in fields.items() if name not in values
               and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}, of which there is no default")
    return kind(**values)


def nearest(name: str, names: Iterable[str]) -> str:
    """What to add to an error about an unknown name: the one that may be meant, or all that there are."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _value(value: Any, hint: Any, where: str) -> Any:
    """`value` of TOML as one of the type `hint`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_table(_of(value, dict, "a table", where), hint, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} is {value!r}{nearest(str(value), [str(each) for each in arguments])}")
        return value
    if origin in (Union, types.UnionType):
        return _one_of(value, [each for each in arguments if each is not type(None)], where)
    if origin is tuple:
        values = _of(value, list, "a list", where)
        return tuple(_value(each, arguments[0], f"{where}[{i}]") for i, each in enumerate(values))
    if origin is dict:
        table = _of(value, dict, "a table", where)
        return {name: _value(each, arguments[1], f"{where}.{name}") for name, each in table.items()}
    if hint not in _SIMPLE:
        raise TypeError(f"{where}: a configuration holds no {hint}")  # a mistake of the dataclass, not of the file
    if not isinstance(value, _SIMPLE[hint]) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{where} must be {_IN_WORDS[hint]}, got {value!r}")
    return hint(value)


def _one_of(value: Any, hints: Sequence[Any], where: str) -> Any:
    """By the first type that takes it; the reasons of all where none does."""
    reasons = []
    for hint in hints:
        try:
            return _value(value, hint, where)
        except InputError as error:
            reasons.append(str(error))
    raise InputError("; or ".join(reasons))


def _of(value: Any, kind: type, words: str, where: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{where} must be {words}, got {value!r}")
    return value
