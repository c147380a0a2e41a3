"""When two JAX functions are one, so that what was traced and compiled for the first serves the second.

`jax.jit` goes by the function object alone: a lambda written in a loop is compiled at each turn, and one that reads a
global variable keeps the value that it read first. Here a function is its code and all that the code reads, by value.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

MAX_KEPT = 16
"""Functions beyond this many: the one that was asked for longest ago is forgotten."""

MAX_BYTES = 2**22
"""Of arrays that a function reads, compared by their numbers at each call; with more it goes by its object."""

_SIMPLE = (bool, int, float, complex, str, bytes, type(None), type, BuiltinFunctionType, ModuleType, np.dtype)

_kept: OrderedDict[Hashable, Callable[..., Any]] = OrderedDict()


class _Opaque(Exception):
    """Something that may change without its identity telling."""


def same(f: Callable[..., Any]) -> Callable[..., Any]:
    """f, or a function made earlier that computes the same from its arguments.

    That is told of functions, methods and partials that read numbers, arrays, pytrees of them, functions and modules;
    any other is itself.
    """
    try:
        key = _Reading().function(f)
        hash(key)
    except (_Opaque, TypeError, RecursionError, ValueError):
        return f
    found = _kept.pop(key, None)
    _kept[key] = found = _another(f) if found is None else found
    while len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
    return found


def by_content(array: Any) -> Hashable:
    """What equal arrays, of NumPy or JAX, share."""
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return "key", str(jax.random.key_impl(array)), by_content(jax.random.key_data(array))
    numbers = np.asarray(array)
    weak = isinstance(array, jax.Array) and array.weak_type
    digest = hashlib.blake2b(np.ascontiguousarray(numbers).tobytes(), digest_size=16).digest()
    return type(array).__name__, numbers.shape, str(array.dtype), weak, digest


def by_value(leaf: Any) -> Hashable:
    """What equal objects that are no arrays share; those that are compared by identity share nothing."""
    return type(leaf), leaf


def _another(f: Callable[..., Any]) -> Callable[..., Any]:
    """The same function as an object of its own, so that f can come to mean something else."""
    return lambda *args, **kwargs: f(*args, **kwargs)


class _Reading:
    """One look at a function and at what it reads."""

    def __init__(self) -> None:
        self.bytes = 0
        self.functions: set[int] = set()

    def function(self, f: Any) -> Hashable:
        if isinstance(f, MethodType):
            return "method", self.value(f.__self__), self.function(f.__func__)
        if isinstance(f, partial):
            return "partial", self.function(f.func), self.value((f.args, f.keywords))
        if isinstance(f, FunctionType):
            return self._python(f)
        if type(f).__module__.partition(".")[0] in ("jax", "jaxlib"):  # what jax.jit or jax.custom_vjp made
            inner = getattr(f, "__wrapped__", None)
            return _Same(f), self.function(inner) if isinstance(inner, FunctionType) else None
        raise _Opaque

    def _python(self, f: FunctionType) -> Hashable:
        if id(f) in self.functions:
            return "itself"
        self.functions.add(id(f))
        cells = tuple(self.value(cell.cell_contents) for cell in f.__closure__ or ())
        names = [name for name in dict.fromkeys(_names(f.__code__)) if name in f.__globals__]
        read = tuple((name, self._global(f, f.__globals__[name])) for name in names)
        return f.__code__, id(f.__globals__), cells, self.value((f.__defaults__, f.__kwdefaults__)), read

    def _global(self, reader: FunctionType, value: Any) -> Hashable:
        if isinstance(value, FunctionType) and value.__globals__ is not reader.__globals__:
            return _Same(value)  # of a library
        return self.value(value)

    def value(self, value: Any) -> Hashable:
        leaves, structure = jax.tree.flatten(value)
        return structure, tuple(map(self._leaf, leaves))

    def _leaf(self, leaf: Any) -> Hashable:
        if isinstance(leaf, _SIMPLE):
            return by_value(leaf)
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            self.bytes += leaf.nbytes
            if isinstance(leaf, Tracer) or self.bytes > MAX_BYTES or leaf.dtype == object:
                raise _Opaque
            return by_content(leaf)
        return by_value(leaf) if _has_value(leaf) else self.function(leaf)


class _Same:
    """An object by its identity, kept alive so that no other takes its place."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.of is other.of

    def __hash__(self) -> int:
        return id(self.of)


def _has_value(leaf: Any) -> bool:
    """Whether its class says when two are equal, as a frozen dataclass does."""
    return type(leaf).__hash__ not in (None, object.__hash__) and not isinstance(leaf, FunctionType | MethodType)


def _names(code: CodeType) -> Iterator[str]:
    """Of the global variables, and of attributes, that the code and the functions inside it read."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
