"""Engines and estimators that are kept for as long as their network lives: it is traced and compiled once for its
shapes."""

from __future__ import annotations

import atexit
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.support import Batched

T = TypeVar("T")

MAX_KEPT = 16
"""Beyond this many, the one that was used longest ago is dropped."""

_kept: OrderedDict[Hashable, tuple[list[weakref.ref[Any]], Any]] = OrderedDict()
# Before Python takes its modules apart: a network that dies after that would be looked for by comparisons that have
# lost what they compare with.
atexit.register(_kept.clear)


def kept(build: Callable[..., T], f: Batched, *arrays: Any, **settings: Any) -> T:
    """``build(f, *arrays, **settings)``; the same one where `f` is the same and all else is alike.

    Of the arrays (the parameters, and the examples where they matter) only shapes and dtypes count.

    `f` is the same where it is the same function, or a pytree (an Equinox module) of the same arrays. As with
    `jax.jit`, what it reads from elsewhere is read once.
    """
    key, objects = _key(build, f, arrays, settings)
    try:
        hash(key)
        # `forget` is held by each: this module's names may be gone before the last of them.
        references = [weakref.ref(leaf, lambda _, forget=_kept.pop: forget(key, None)) for leaf in objects]
    except TypeError:  # something that cannot be told apart without a comparison of its contents
        return build(f, *arrays, **settings)
    if any(isinstance(leaf, np.ndarray) for leaf in objects):  # its contents may change
        return build(f, *arrays, **settings)
    found = _kept.pop(key, None)
    if found is None or any(ref() is not leaf for ref, leaf in zip(found[0], objects, strict=True)):
        found = references, build(f, *arrays, **settings)
    _kept[key] = found
    while len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
    return found[1]


def is_kept(build: Callable[..., Any], f: Batched, *arrays: Any, **settings: Any) -> bool:
    """Whether `kept` has it."""
    key, objects = _key(build, f, arrays, settings)
    try:
        found = _kept.get(key)
    except TypeError:
        return False
    return found is not None and all(ref() is leaf for ref, leaf in zip(found[0], objects, strict=True))


def _key(build: Callable[..., Any], f: Batched, arrays: tuple[Any, ...], settings: dict[str, Any]
         ) -> tuple[tuple[Any, ...], list[Any]]:
    """And the objects that it goes by, which have to live."""
    leaves, structure = jax.tree.flatten(f)
    numbers = tuple(leaf for leaf in leaves if isinstance(leaf, bool | int | float | complex | str))
    objects = [leaf for leaf in leaves if not isinstance(leaf, bool | int | float | complex | str)]
    shapes = [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(arrays)]
    return (build, structure, numbers, tuple(map(id, objects)), jax.tree.structure(arrays), tuple(shapes),
            jnp.result_type(float), tuple(sorted(settings.items()))), objects
