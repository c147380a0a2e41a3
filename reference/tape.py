"""A small reverse-mode tape over NumPy arrays whose entries are float64 numbers or balls.

Arrays of balls are arrays of dtype object; NumPy's own +, * and @ work on both. A `Tape` records what is done to its
nodes, and `Tape.gradients` goes back through the record. A primitive is a function that computes a value and records,
for each operand, how a cotangent of the result is pulled back to it; further primitives need nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.arithmetic import Arithmetic

PullBack = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Node:
    """A value on a tape, and how its cotangents are pulled back to the nodes that it was computed from."""

    tape: Tape
    index: int
    value: np.ndarray
    operands: tuple[tuple[Node, PullBack], ...] = ()


class Tape:
    """The record of one computation, in order."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        self._nodes: list[Node] = []

    def leaf(self, value: np.ndarray) -> Node:
        """A node for an array of this arithmetic's numbers that nothing was done to yet: a parameter or an input."""
        return self.record(value)

    def record(self, value: np.ndarray, *operands: tuple[Node, PullBack]) -> Node:
        """A node for `value`, which was computed from the nodes in `operands`."""
        node = Node(self, len(self._nodes), value, operands)
        self._nodes.append(node)
        return node

    def gradients(self, output: Node, cotangent: np.ndarray, leaves: Sequence[Node]) -> list[np.ndarray]:
        """The cotangents of `leaves`, given the one of `output`; a leaf that was used several times gets the sum."""
        relevant = self._depending_on(leaves)
        cotangents = {output.index: cotangent}
        for node in reversed(self._nodes[: output.index + 1]):
            if node.operands and node.index in cotangents:
                arriving = cotangents.pop(node.index)
                for operand, pull_back in node.operands:
                    if operand.index in relevant:
                        pulled, before = pull_back(arriving), cotangents.get(operand.index)
                        cotangents[operand.index] = pulled if before is None else before + pulled
        return [cotangents.get(leaf.index, self.arithmetic.lift(np.zeros(leaf.value.shape))) for leaf in leaves]

    def _depending_on(self, leaves: Sequence[Node]) -> set[int]:
        relevant = {leaf.index for leaf in leaves}
        for node in self._nodes:
            if any(operand.index in relevant for operand, _ in node.operands):
                relevant.add(node.index)
        return relevant


def matmul(a: Node, b: Node) -> Node:
    """a @ b for two matrices."""
    return a.tape.record(a.value @ b.value, (a, lambda g: g @ b.value.T), (b, lambda g: a.value.T @ g))


def add(a: Node, b: Node) -> Node:
    """a + b with NumPy's broadcasting."""
    return a.tape.record(a.value + b.value, (a, lambda g: _unbroadcast(g, a.value.shape)),
                         (b, lambda g: _unbroadcast(g, b.value.shape)))


def multiply(a: Node, b: Node) -> Node:
    """a · b, entry by entry, with NumPy's broadcasting."""
    return a.tape.record(a.value * b.value, (a, lambda g: _unbroadcast(g * b.value, a.value.shape)),
                         (b, lambda g: _unbroadcast(g * a.value, b.value.shape)))


def scale(a: Node, constant: Any) -> Node:
    """a times a number of the arithmetic."""
    return a.tape.record(a.value * constant, (a, lambda g: g * constant))


def reshape(a: Node, shape: tuple[int, ...]) -> Node:
    """The same entries in C order."""
    return a.tape.record(a.value.reshape(shape), (a, lambda g: g.reshape(a.value.shape)))


def transpose(a: Node) -> Node:
    """The transposed matrix."""
    return a.tape.record(a.value.T, (a, lambda g: g.T))


def concatenate(nodes: Sequence[Node], axis: int) -> Node:
    """The nodes side by side along an axis."""
    ends = np.cumsum([node.value.shape[axis] for node in nodes])

    def pull_back(i: int) -> PullBack:
        return lambda g: np.split(g, ends[:-1], axis)[i]

    return nodes[0].tape.record(np.concatenate([node.value for node in nodes], axis),
                                *((node, pull_back(i)) for i, node in enumerate(nodes)))


def gather(a: Node, indices: np.ndarray) -> Node:
    """a.ravel()[indices], with zero where the index is -1."""
    zero = a.tape.arithmetic.lift(np.zeros(1))
    padded = np.concatenate([a.value.ravel(), zero])

    def pull_back(g: np.ndarray) -> np.ndarray:
        total = a.tape.arithmetic.lift(np.zeros(padded.shape))
        np.add.at(total, indices.ravel(), g.ravel())  # index -1 is the padding's place here too
        return total[:-1].reshape(a.value.shape)

    return a.tape.record(padded[indices], (a, pull_back))


def mean(a: Node, axis: int) -> Node:
    """The mean over one axis, which is dropped."""
    size = a.value.shape[axis]
    return a.tape.record(a.value.sum(axis) / size,
                         (a, lambda g: np.broadcast_to(np.expand_dims(g / size, axis), a.value.shape)))


def total(a: Node, axis: int) -> Node:
    """The sum over one axis, which is kept with size 1."""
    return a.tape.record(a.value.sum(axis, keepdims=True), (a, lambda g: np.broadcast_to(g, a.value.shape)))


def elementwise(a: Node, function: Callable[[np.ndarray], np.ndarray],
                derivative: Callable[[np.ndarray], np.ndarray]) -> Node:
    """A function of each entry."""
    slopes = derivative(a.value)
    return a.tape.record(function(a.value), (a, lambda g: g * slopes))


def _unbroadcast(cotangent: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an operand of that shape was repeated."""
    cotangent = cotangent.sum(tuple(range(cotangent.ndim - len(shape))))
    repeated = tuple(i for i, size in enumerate(shape) if size == 1 and cotangent.shape[i] != 1)
    return cotangent.sum(repeated, keepdims=True) if repeated else cotangent
