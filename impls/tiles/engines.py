"""What computes tiles: a structured engine's factors and their contraction, or another method pair by pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from impls import registry
from impls.choice.costs import STRUCTURED
from impls.choice.halves import half
from impls.given.network import OwnNetwork
from impls.own.ntk import limited
from impls.tiles import sizes
from impls.tiles.compute import Between, ByPairs
from impls.tiles.sizes import Sizes
from reference import InputError, Request

NDIM = {"full": 4, "diagonal": 3, "trace": 2}

EXAMPLES_KEPT = 4
"""Tiles of which a method without factors keeps the examples."""


class Chosen(NamedTuple):
    """A method with the sizes that keep it within the limit, and what makes its `Between` for a network."""

    method: str
    sizes: Sizes
    between: Callable[[OwnNetwork], Between]


def chosen(method: str, own: OwnNetwork, request: Request, shape: tuple[int, int], limit: int,
           tile: tuple[int, int] | None) -> Chosen:
    """For a kernel of that shape. Of `own` one example is looked at. Raises `InputError` where the limit is not enough,
    or the method is none for tiles."""
    found = registry.load(method)
    if found.kind != "exact" or not hasattr(found, "kernel"):
        raise InputError(f"{method} computes no tiles, as its kernel is not exact or not of any function; leave the "
                         f"method out, or name structured_{own.framework}")
    if method in STRUCTURED:
        return _structured(found, own, request, shape, limit, tile)
    return _by_pairs(found, own, request, shape, limit, tile)


def _structured(found: Any, own: OwnNetwork, request: Request, shape: tuple[int, int], limit: int,
                tile: tuple[int, int] | None) -> Chosen:
    of_engine = replace(request, options={**request.options, "memory_limit": int(limit * sizes.OF_ENGINE)})
    stand_in = half(own.framework).stand_in

    def engine(size: tuple[int, int]) -> Any:
        x2 = None if own.x2 is None else stand_in(own.x2[:1], size[1])
        return half(own.framework).engine(found, own.f, own.params, stand_in(own.x1[:1], size[0]), x2, of_engine)

    size = tile or sizes.tile_of(shape, _entry_bytes(own, request), limit)
    made = engine(size)
    most = sizes.most_of(_kept_bytes(made), limit)
    if tile is None and most < max(size):
        size = sizes.tile_of(shape, _entry_bytes(own, request), limit, most)
        made = engine(size)
    kept = sizes.kept_of(size, _kept_bytes(made), limit)
    return Chosen(found.name, Sizes(size, kept), lambda network: _between(network, made))


def _by_pairs(found: Any, own: OwnNetwork, request: Request, shape: tuple[int, int], limit: int,
              tile: tuple[int, int] | None) -> Chosen:
    size = tile or sizes.tile_of(shape, _entry_bytes(own, request), limit)
    stand_in = half(own.framework).stand_in
    of_tile = own._replace(x1=stand_in(own.x1[:1], max(size)), x2=None)
    blocked, _ = limited(found.name, of_tile, request, int(limit * sizes.OF_ENGINE))
    return Chosen(found.name, Sizes(size, EXAMPLES_KEPT), lambda network: ByPairs(
        lambda x1, x2: found.kernel(network.f, network.params, x1, x2, blocked), NDIM[request.outputs]))


def _between(own: OwnNetwork, engine: Any) -> Between:
    if own.framework == "torch":
        from impls.structured.torch.between import Between as Found
    else:
        from impls.structured.jax.between import Between as Found
    return Found(engine, own.params)


def _kept_bytes(engine: Any) -> float:
    """Of one example's factors."""
    return engine.plan.bytes / engine.plan.task.examples


def _entry_bytes(own: OwnNetwork, request: Request) -> int:
    """Of one pair of examples."""
    entries = {"full": own.n_outputs**2, "diagonal": own.n_outputs, "trace": 1}[request.outputs]
    return entries * np.dtype(own.dtype).itemsize
