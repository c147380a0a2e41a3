"""Which leaves of a JAX user's pytree are parameters; the others stay what they are, inside the function.

As `jax.grad` sees it, a parameter is any floating-point leaf: an array of JAX or NumPy, or a Python float. A complex
leaf is a parameter as well: a pair of real ones on a last axis (re, im), see reference/DEFINITION.md. Integers, truth
values, random keys and all other objects are constants.
"""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.identity import by_content, by_value, same
from impls.frameworks.jax.packing import Packing
from impls.given.items import ONE, Takes, spread
from impls.given.selection import selected
from reference import InputError
from reference.case import DType

Params = OrderedDict[str, Any]
"""By the leaf's place in the user's pytree, such as "layers.0.weight", in its order."""

SMALL = 2**16
"""Bytes of a constant array up to which two of equal numbers are taken for one."""


class Place(Enum):
    """What stands at a leaf of the user's pytree."""

    PARAMETER = 1
    PAIR = 2
    """A complex parameter, of which (re, im) is given."""
    ARRAY = 3
    """A constant that compiled functions take as an argument."""


class Constant:
    """A constant that Python code of the network may read, as in ``range(params["depth"])``; equal ones are one."""

    def __init__(self, value: Any) -> None:
        array = isinstance(value, jax.Array | np.ndarray | np.generic)
        self.value = value.copy() if isinstance(value, np.ndarray) else value  # the user's may be written to
        self.key = by_content(value) if array else by_value(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.key == other.key

    def __hash__(self) -> int:
        try:
            return hash(self.key)
        except TypeError:  # a leaf without a hash
            return id(self.value)


@jax.tree_util.register_pytree_node_class
class OfParams:
    """``f(params, x)`` of the parameters alone, {name: real array}; all else that the user's f takes stands inside.

    A pytree of f and the constant arrays: those are arguments of a compiled function. Of what it has beside them equal
    ones are the same, so that no call with equal constants compiles anew.
    """

    def __init__(self, f: Callable[[Any, Any], Any], structure: Any, places: Sequence[Place | Constant],
                 arrays: Sequence[Any], packing: Packing | None = None, of: Takes = ONE, select: Any = None) -> None:
        self.f, self.structure, self.places, self.arrays = f, structure, tuple(places), list(arrays)
        self.packing, self.of, self.select = packing, of, select

    def __call__(self, params: Params, x: Any) -> Any:
        args, by_name = ((x,), {}) if self.packing is None else spread(self.packing.unpack(x), self.of)
        y = self.f(self.tree(params), *args, **by_name)
        return y if self.select is None else selected(y, self.select)

    def of_inputs(self, packing: Packing | None, of: Takes, select: Any) -> OfParams:
        """The same, of the bytes of examples of which f takes `of`, and of its output that which `select` says."""
        select = same(select) if callable(select) else select
        return OfParams(self.f, self.structure, self.places, self.arrays, packing, of, select)

    def of_some(self, leaves: Params, names: Iterable[str]) -> Split:
        """The same, of the parameters of these names alone; the others are constants."""
        kept, given, arrays = set(names), iter(leaves.items()), iter(self.arrays)
        places: list[Place | Constant] = []
        constants: list[Any] = []
        for place in self.places:
            if place in (Place.PARAMETER, Place.PAIR):
                name, leaf = next(given)
                if name in kept:
                    places.append(place)
                    continue
                place = Place.ARRAY if isinstance(leaf, jax.Array) else Constant(leaf)
                constants += [leaf] if place is Place.ARRAY else []
            elif place is Place.ARRAY:
                constants.append(next(arrays))
            places.append(place)
        return Split(OfParams(self.f, self.structure, places, constants),
                     OrderedDict((name, leaf) for name, leaf in leaves.items() if name in kept))

    def tree(self, params: Params) -> Any:
        """The user's pytree with these parameters."""
        given, arrays = iter(params.values()), iter(self.arrays)

        def leaf(place: Place | Constant) -> Any:
            if isinstance(place, Constant):
                return place.value
            if place is Place.ARRAY:
                return next(arrays)
            return next(given) if place is Place.PARAMETER else _complex(next(given))

        return self.structure.unflatten([leaf(place) for place in self.places])

    def tree_flatten(self) -> tuple[tuple[Any, list[Any]], tuple[Any, ...]]:
        return (self.f, self.arrays), (self.structure, self.places, self.packing, self.of, self.select)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> OfParams:
        structure, places, *others = static
        return cls(children[0], structure, places, children[1], *others)


class Split(NamedTuple):
    """The user's function of its parameters alone, and those, as the user has them."""

    f: OfParams
    leaves: Params


def split(f: Callable[[Any, Any], Any], tree: Any, trained: Sequence[bool] | None = None) -> Split:
    """`f(tree, x)` as a function of the leaves that are parameters: those `trained`, or all that can be.

    Raises `InputError` for a leaf that can neither be differentiated nor stay as it is.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    names, places, arrays, leaves = leaf_names(path for path, _ in paths), [], [], OrderedDict()
    trained = [differentiable(leaf) for _, leaf in paths] if trained is None else trained
    for name, (_, leaf), is_parameter in zip(names, paths, trained, strict=True):
        _check(name, leaf)
        if is_parameter:
            places.append(Place.PAIR if np.issubdtype(_dtype(leaf), np.complexfloating) else Place.PARAMETER)
            leaves[name] = leaf
        elif _is_argument(leaf):
            places.append(Place.ARRAY)
            arrays.append(_one_of_equals(leaf))
        else:
            places.append(Constant(leaf))
    return Split(OfParams(same(f), structure, places, arrays), leaves)


def leaf_names(paths: Iterable[Any]) -> list[str]:
    """The leaves' places in a pytree, such as "layers.0.weight"; in full, as in "['a.b']", where two would be alike."""
    paths = list(paths)
    short = [jax.tree_util.keystr(path, simple=True, separator=".") for path in paths]
    times = Counter(short)
    return [name if times[name] == 1 else jax.tree_util.keystr(path) for name, path in zip(short, paths, strict=True)]


def differentiable(leaf: Any) -> bool:
    """Whether `jax.grad` differentiates with respect to this leaf, or it is complex."""
    dtype = _dtype(leaf)
    return dtype is not None and bool(jnp.issubdtype(dtype, np.inexact))


def dtype_of(leaves: Params) -> DType:
    """What the kernel is computed in: the widest dtype of the parameters, at least float32.

    Python floats and other weakly typed leaves take that of the rest, as everywhere in JAX. Warns where that is wider
    than parameters of 16 or 8 bits. Raises `InputError` without any parameter.
    """
    if not leaves:
        raise InputError("the model has no trainable floating-point parameter, so it has no tangent kernel")
    strong = {name: leaf for name, leaf in leaves.items() if not _is_weak(leaf)} or leaves
    real = {name: jnp.finfo(_dtype(leaf)).dtype for name, leaf in strong.items()}
    narrow = sorted({str(dtype) for dtype in real.values() if dtype.itemsize < 4})
    dtype: DType = "float64" if any(dtype.itemsize == 8 for dtype in real.values()) else "float32"
    if narrow:
        warnings.warn(f"parameters of {' and '.join(narrow)} are computed in {dtype}, as fewer bits lose the kernel",
                      UserWarning, stacklevel=2)
    return dtype


def arrays(leaves: Params, dtype: DType | None = None) -> Params:
    """The parameters as real JAX arrays of that dtype (None: of their own), complex ones as pairs (re, im)."""
    return OrderedDict((name, _real(leaf, dtype)) for name, leaf in leaves.items())


def python_floats(leaves: Params) -> list[str]:
    """Those that are numbers of Python."""
    return [name for name, leaf in leaves.items() if isinstance(leaf, float | complex) and not hasattr(leaf, "dtype")]


def _real(leaf: Any, dtype: DType | None) -> jax.Array:
    if isinstance(leaf, np.ndarray):
        leaf = np.ascontiguousarray(leaf, leaf.dtype.newbyteorder("="))  # JAX takes no other order of bytes
    if np.issubdtype(_dtype(leaf), np.complexfloating):
        leaf = jnp.asarray(leaf)
        leaf = jnp.stack([leaf.real, leaf.imag], axis=-1)
    return jnp.asarray(leaf, dtype or getattr(leaf, "dtype", None))


def _complex(pair: jax.Array) -> jax.Array:
    return jax.lax.complex(pair[..., 0], pair[..., 1])


def _dtype(leaf: Any) -> Any:
    """Of what `jax.grad` takes for a number; None of anything else."""
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return leaf.dtype
    return {float: np.dtype("float64"), complex: np.dtype("complex128")}.get(type(leaf))


def _is_weak(leaf: Any) -> bool:
    return not hasattr(leaf, "dtype") or (isinstance(leaf, jax.Array) and leaf.weak_type)


def _is_argument(leaf: Any) -> bool:
    """Arrays of JAX that a change of dtype has to reach, and large ones, which are no constants of a program."""
    return isinstance(leaf, jax.Array) and (differentiable(leaf) or leaf.nbytes > SMALL)


def _one_of_equals(array: jax.Array) -> jax.Array:
    return array if array.nbytes > SMALL else _interned(_Keyed((by_content(array), array.sharding), array))


class _Keyed:
    """An array that is hashed and compared by its content."""

    def __init__(self, key: Any, array: Any) -> None:
        self.key, self.array = key, array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=256)
def _interned(keyed: _Keyed) -> jax.Array:
    return keyed.array


def _check(name: str, leaf: Any) -> None:
    """Raise `InputError` for a leaf that would be misread."""
    if isinstance(leaf, np.ma.MaskedArray):
        raise InputError(f"params has a masked array at {name!r}, whose mask JAX drops; give leaf.filled(...)")
    if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fc" and leaf.dtype.itemsize > 8 * (
            1 + (leaf.dtype.kind == "c")):
        raise InputError(f"params has {leaf.dtype} at {name!r}, which JAX cannot hold; convert it to float64")
