"""A kernel on disk as it is asked for: the network, its examples, and the store that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from impls import registry
from impls.frameworks.arrays import to_numpy
from impls.frameworks.faces import face
from impls.given.asked import ALL, Asked
from impls.given.batches import OwnBatches
from impls.given.network import OwnNetwork
from impls.given.structure import leaves
from impls.given.user_network import UserNetwork
from impls.own.halves import framework_of, half
from impls.own.recognise import user_network
from impls.own.selfcheck import JACOBIANS, SLACK
from impls.tiles import identity, sizes
from impls.tiles.compute import Computer, examples
from impls.tiles.engines import Chosen, chosen
from impls.tiles.identity import Identity, Witness
from impls.tiles.pieces import by_number, in_bands, is_plain
from impls.tiles.store import Store
from reference import InputError, Request
from reference.case import Device, Outputs
from reference.tolerances import tolerance

LOOKED_AT = 2
"""Examples of each side from which the sizes are found."""

WITNESSES = 2
"""Pairs of examples whose gradients tell one network from another."""

PACKAGES = {"torch": ("ntk-bench", "numpy", "torch"), "jax": ("ntk-bench", "numpy", "jax", "jaxlib")}


@dataclass(frozen=True)
class Asking:
    """What decides a kernel beside network and examples: as in `impls.ntk`. `limit`: bytes, on a GPU of each device."""

    outputs: Outputs = "full"
    method: str = "auto"
    tile: Any = None
    limit: int = sizes.LIMIT
    batch_size: int | None = None
    seed: int = 0
    options: Mapping[str, Any] | None = None
    devices: Any = None
    asked: Asked = ALL

    def of_each(self, kind: Device) -> int:
        """The limit of each device: those of the CPU share one memory. Raises `InputError` for no devices."""
        n = self.devices if isinstance(self.devices, int) else 1 if self.devices is None else len(self.devices)
        if n < 1:
            raise InputError(f"devices= is a number of devices or a list of them, got {self.devices!r}")
        return self.limit // n if kind == "cpu" else self.limit


ANY = Asking()


@dataclass(frozen=True)
class Job:
    """A network with all its examples and the method that computes tiles of its kernel."""

    own: OwnNetwork
    request: Request
    chosen: Chosen
    asking: Asking
    again: Callable[[], Job]
    """Makes it once more, in another process; for one device."""

    def computer(self, place: Callable[[Any], Any] = lambda arrays: arrays) -> Computer:
        """A new one, which keeps factors for as long as it lives. `place`: puts parameters, and examples, where they
        are computed with."""
        own = self.own._replace(params=place(self.own.params))
        return Computer(own, self.chosen.between(own), self.chosen.sizes.kept, place)

    def by(self, method: str) -> Job:
        """The same kernel by another method, in tiles of the same size."""
        of = _looked_at(self.own)
        limit = self.asking.of_each(of.device)
        found = chosen(method, of, self.request, self.shape, limit, self.chosen.sizes.tile)
        return replace(self, chosen=found)

    @property
    def shape(self) -> tuple[int, int]:
        n1 = len(self.own.x1)
        return n1, n1 if self.own.x2 is None else len(self.own.x2)

    @cached_property
    def identity(self) -> Identity:
        """Reads all examples once."""
        with face(self.own.framework).precision(self.own.dtype):
            return self._identity()

    def _identity(self) -> Identity:
        own, (tile1, tile2) = self.own, self.chosen.sizes.tile
        named = face(own.framework).named(own.params)
        return Identity(
            outputs=self.request.outputs, dtype=own.dtype, n_outputs=own.n_outputs, tile=(tile1, tile2),
            method=self.chosen.method, options={**self.request.options, "seed": self.request.seed},
            versions=_versions(own.framework), parameters={n: identity.digest(to_numpy(p)) for n, p in named},
            x1=identity.side(len(own.x1), tile1, self.digest(0)),
            x2=None if own.x2 is None else identity.side(len(own.x2), tile2, self.digest(1)),
            witnesses=tuple(self._witnesses()))

    def digest(self, side: int) -> Callable[[slice], str]:
        """Of examples of one tile."""
        def of(rows: slice) -> str:
            with face(self.own.framework).precision(self.own.dtype):
                found = examples(self.own.x2 if side else self.own.x1, rows)
            if self.own.table is None:
                return identity.digest(to_numpy(found))
            arrays = leaves(self.own.table[found], "")
            return identity.digest(*(part for path, array in arrays.items() for part in (path, to_numpy(array))))
        return of

    def check(self, store: Store) -> None:
        """Raise `InputError`, saying what differs, unless the store is of this kernel, or of fewer of its examples."""
        allowed = SLACK * tolerance(self.own.dtype)
        found = identity.differences(store.identity, self.identity, (self.digest(0), self.digest(1)), allowed)
        if found:
            raise InputError(f"{str(store.path)!r} holds another kernel. {'; '.join(found)}. Give what it was made of, "
                             "or another name")

    def store(self, path: str | Path) -> Store | None:
        """That at `path`, if there is one: checked, and extended to the examples that are given now."""
        if not Path(path).exists():
            return None
        store = Store.open(path)
        self.check(store)
        grown = store.identity.x1 != self.identity.x1 or store.identity.x2 != self.identity.x2
        return store.extend(replace(self.identity, witnesses=store.identity.witnesses)) if grown else store

    def _witnesses(self) -> Iterator[Witness]:
        """Of pairs of the first tile, which is there however many examples follow. None of a network whose backward
        pass fails, as that of jax.lax.while_loop."""
        own, (tile1, tile2) = self.own._replace(first=None), self.chosen.sizes.tile
        n1, n2 = (min(n, size) for n, size in zip(self.shape, (tile1, tile2), strict=True))
        some1 = examples(own.x1, slice(0, n1))
        some2 = some1 if own.x2 is None else examples(own.x2, slice(0, n2))
        draw = np.random.default_rng(0)
        for k in range(WITNESSES):
            i, j = k * (n1 - 1) // max(1, WITNESSES - 1), n2 - 1 - k * (n2 - 1) // max(1, 2 * WITNESSES)
            x1, x2 = some1[i:i + 1], some2[j:j + 1]
            u, v = draw.standard_normal((2, 1, own.n_outputs))
            try:
                shares, scale = half(own.framework).products(own, x1, x2, u, v)
            except (RuntimeError, ValueError, TypeError, NotImplementedError):
                return
            yield Witness(i, j, dict(shares), scale)


def job(model: Any, x1: Any, x2: Any = None, *, params: Any = None, asking: Asking = ANY,
        path: str | Path | None = None) -> Job:
    """What `asking` says of a kernel of `model`, which `impls.ntk` takes, or is a `UserNetwork`. `path`: of a store
    that may be there, whose tiles and, for "auto", whose method are taken. Raises `InputError` for what cannot be used
    or does not fit."""
    network = model if isinstance(model, UserNetwork) else user_network(model, params)
    there = Store.open(path).identity if path is not None and Path(path).exists() else None
    given = by_number(x1), by_number(x2)
    first1, first2 = (x[:LOOKED_AT] if is_plain(x) else x for x in given)
    few = _with(network, first1, first2, asking.asked)
    request = Request(asking.outputs, few.dtype, few.device, asking.seed, asking.batch_size, asking.options or {})
    n1 = _length(x1, few.x1)
    shape = n1, n1 if few.x2 is None else _length(x2, few.x2)
    tile = None if asking.tile is None else sizes.given(asking.tile, few.x2 is None)
    if there is not None and tile is None:
        tile = there.tile
    method = asking.method
    if method == "auto":
        method = there.method if there is not None else f"structured_{few.framework}"
    limit = asking.of_each(few.device)
    found = _first_that_can(method, _looked_at(few), request, shape, replace(asking, limit=limit), tile)
    own = few
    if any(map(is_plain, given)):
        bands1, bands2 = map(in_bands, given, found.sizes.tile)
        own = _with(network, bands1, bands2, asking.asked)
    of_one = replace(asking, method=found.method, limit=limit, devices=None)
    again = partial(job, network, x1, x2, asking=of_one, path=path)
    return Job(own, request, found, asking, again)


def _with(network: UserNetwork, x1: Any, x2: Any, asked: Asked) -> OwnNetwork:
    """Batches that can only be read one after the other are gathered in memory."""
    of = half(framework_of(network))
    own = of.own_network(network, x1, x2, asked)
    whole = {name: of.whole(own._replace(x1=x, x2=None)).x1
             for name, x, given in (("x1", own.x1, x1), ("x2", own.x2, x2))
             if isinstance(x, OwnBatches) and not hasattr(given, "__getitem__")}
    return own._replace(**whole)


def _length(given: Any, taken: Any) -> int:
    return given.shape[0] if is_plain(given) else len(taken)


def _looked_at(own: OwnNetwork) -> OwnNetwork:
    """With one example of each side, in an array."""
    with face(own.framework).precision(own.dtype):
        return own._replace(x1=examples(own.x1, slice(0, 1)),
                            x2=None if own.x2 is None else examples(own.x2, slice(0, 1)))


def _first_that_can(method: str, few: OwnNetwork, request: Request, shape: tuple[int, int], asking: Asking,
                    tile: tuple[int, int] | None) -> Chosen:
    """For "auto" Jacobians where the engine fails, for whatever reason, on this network."""
    if registry.framework(method) != few.framework:
        raise InputError(f"{method} works on {registry.framework(method)}, but the model is of {few.framework}")
    try:
        with face(few.framework).precision(few.dtype):
            return chosen(method, few, request, shape, asking.limit, tile)
    except InputError:
        raise
    except Exception:
        if asking.method != "auto":
            raise
        return chosen(JACOBIANS[few.framework], few, request, shape, asking.limit, tile)


@cache
def _versions(framework: str) -> Mapping[str, str]:
    found = {}
    for name in PACKAGES[framework]:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a clone that is not installed
            found[name] = "none"
    return found
