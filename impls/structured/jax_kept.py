"""Engines that are kept for as long as their network lives, so that it is traced and compiled once for its shapes."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.jax_support import Batched
from impls.structured.jax_engine import Engine

MAX_KEPT = 16
"""Beyond this many, the one that was used longest ago is dropped."""

_kept: OrderedDict[Hashable, tuple[list[weakref.ref[Any]], Engine]] = OrderedDict()


def kept_engine(f: Batched, params: Any, x1: Any, x2: Any | None, **settings: Any) -> Engine:
    """As ``Engine(f, params, x1, x2, **settings)``; the same one where all of these are alike and `f` is the same.

    `f` is the same where it is the same function, or a pytree (an Equinox module) of the same arrays. As with
    `jax.jit`, what it reads from elsewhere is read once.
    """
    leaves, structure = jax.tree.flatten(f)
    numbers = tuple(leaf for leaf in leaves if isinstance(leaf, bool | int | float | complex | str))
    objects = [leaf for leaf in leaves if not isinstance(leaf, bool | int | float | complex | str)]
    shapes = [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves((params, x1, x2))]
    key = (structure, numbers, tuple(map(id, objects)), jax.tree.structure((params, x1, x2)), tuple(shapes),
           jnp.result_type(float), tuple(sorted(settings.items())))
    try:
        hash(key)
        references = [weakref.ref(leaf, lambda _: _forget(key)) for leaf in objects]
    except TypeError:  # something that cannot be told apart without a comparison of its contents
        return Engine(f, params, x1, x2, **settings)
    if any(isinstance(leaf, np.ndarray) for leaf in objects):  # its contents may change
        return Engine(f, params, x1, x2, **settings)
    found = _kept.pop(key, None)
    if found is None or any(ref() is not leaf for ref, leaf in zip(found[0], objects, strict=True)):
        found = references, Engine(f, params, x1, x2, **settings)
    _kept[key] = found
    while len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
    return found[1]


def _forget(key: Hashable) -> None:
    _kept.pop(key, None)
