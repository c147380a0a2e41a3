"""How products with a kernel are made: the way that is right for the network, and the blocks that fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, NamedTuple, Protocol

import numpy as np

from impls.choice.auto import USABLE
from impls.frameworks.arrays import to_numpy
from impls.frameworks.faces import face, free_memory
from impls.given.network import OwnNetwork
from impls.own import selfcheck
from impls.own.halves import half
from impls.protocol import Array
from reference import InputError, Request

ROOM = 2**30
"""Bytes beyond parameters and examples, unless `memory_limit` says another number; where less is free, that."""

MOST_VECTORS = 16
"""At once: what they share, the forward pass, is a small part by then."""

COPIES = 3
"""Of the gradients of each vector: of a block, their sum, and the next sum."""

PASSES = 2
"""How often what the operations of a pass write is held, at most: as they come, and as the way back needs them."""


class Way(Protocol):
    """How J(left) J(right)ᵀ v is made."""

    def multiply(self, left: Array, right: Array, vectors: Array, block: int) -> Array:
        """For `vectors` (k, n2, O), in blocks of that many examples: (k, n1, O)."""
        ...


class Memory(NamedTuple):
    """`limit` bytes for a product: those of the pass of an example, of each vector's gradients, and of all the rest."""

    limit: float
    example: float
    vector: float
    rest: float
    batch_size: int | None

    @property
    def vectors(self) -> int:
        """At once."""
        return int(min(max(1, (self.limit / 2 - self.rest) // self.vector), MOST_VECTORS))

    def block(self, vectors: int, examples: int) -> int:
        """The number of examples in one, of so many, for that many vectors."""
        left = self.limit - self.rest - vectors * self.vector
        fits = int(left // (PASSES * self.example * (1 + vectors))) if self.example else examples
        return min(self.batch_size or max(1, fits), examples)


class Jacobians(NamedTuple):
    """By those of one block of examples after the other, for networks that have no other derivative: O passes each."""

    own: OwnNetwork
    held: float
    """Bytes that the Jacobians of a block may take."""

    def __str__(self) -> str:
        return "the Jacobians of blocks of examples"

    def multiply(self, left: Array, right: Array, vectors: Array, block: int) -> Array:
        of, request = half(self.own.framework).across(), Request("full", self.own.dtype, self.own.device)
        size = min(block, max(1, int(self.held // self.own.jacobian_bytes)))
        k, n2, n_outputs = vectors.shape
        sums: dict[str, Array] = {}
        for start in range(0, n2, size):
            v = vectors[:, start:start + size].reshape(k, 1, -1)
            for name, jacobian in self._of(of, right, slice(start, start + size)).items():
                columns = jacobian.reshape(-1, jacobian.shape[-1]).T[:, None]  # (P_i, 1, n O)
                found = of.contract(v, columns, request)[:, :, 0, 0]
                sums[name] = sums[name] + found if name in sums else found
        rows: list[Array] = []
        for start in range(0, len(left), size):
            parts = [of.contract(sums[name][:, None], jacobian.reshape(-1, 1, jacobian.shape[-1]), request)
                     for name, jacobian in self._of(of, left, slice(start, start + size)).items()]
            rows.append(reduce(add, parts).reshape(k, -1, n_outputs))
        return of.concatenate(rows, 1)

    def _of(self, of: Any, x: Array, rows: slice) -> dict[str, Array]:
        return of.jacobian(self.own._replace(x1=x, x2=None), rows, "auto")


def memory(own: OwnNetwork, memory_limit: int | None, batch_size: int | None) -> Memory:
    """That of products of this network. Raises `InputError` where not even one example passes."""
    free = free_memory(own.framework, own.device)
    limit = memory_limit or (ROOM if free is None else min(ROOM, USABLE * free))
    example, rest = half(own.framework).operator().bytes_of_pass(own)
    found = Memory(limit, example, COPIES * own.n_params * np.dtype(own.dtype).itemsize, rest, batch_size)
    least = found.rest + found.vector + 2 * PASSES * found.example
    if memory_limit is not None and memory_limit < least:
        raise InputError(f"memory_limit={memory_limit} is not enough: the gradients and the pass of one example take "
                         f"{least:.0f} bytes")
    return found


def way(own: OwnNetwork, room: Memory, say: Callable[[str], None]) -> Way:
    """The first that is right for two vectors of two examples, held against backward passes of the network itself; by
    Jacobians, where those that need more of the framework are wrong or fail."""
    for found in half(own.framework).operator().ways(own):
        try:
            with face(own.framework).precision(own.dtype):
                wrong = _wrong(own, found)
        except Exception as error:  # of the network's own derivative: forward mode of a custom_vjp, no rule for vmap …
            wrong = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        if wrong is None:
            return found
        say(f"ntk_operator: not by {found}: {wrong}")
    return Jacobians(own, room.limit / 4)


def _wrong(own: OwnNetwork, found: Way) -> str | None:
    """What differs, of uᵀ K v for the first two examples of x1 and the last two of x2."""
    operator, draw = half(own.framework).operator(), np.random.default_rng(0)
    left, right = own.x1[:2], (own.x1 if own.x2 is None else own.x2)[-2:]
    u, v = (draw.standard_normal((2, len(x), own.n_outputs)) for x in (left, right))
    for k in operator.CHECKED:
        product = np.asarray(to_numpy(found.multiply(left, right, operator.vector(own, v[:k]), 2)), np.float64)
        if (wrong := selfcheck.wrong_product(own, left, right, u[:k], v[:k], product)) is not None:
            return wrong
    return None
