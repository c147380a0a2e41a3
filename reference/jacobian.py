"""The Jacobian of one example's outputs with respect to parameters, from the tape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reference.arithmetic import Arithmetic
from reference.forward import forward
from reference.layered import Described
from reference.tape import Node, Tape


@dataclass(frozen=True)
class Linearisation:
    """The forward pass of one example on a tape of its own."""

    leaves: Mapping[str, Node]
    output: Node

    def jacobian(self, names: Sequence[str]) -> np.ndarray:
        """∂f/∂θ of shape (O, number of entries of the named parameters, in their order)."""
        leaves = [self.leaves[name] for name in names]
        shape = self.output.value.shape
        ones = self.output.tape.arithmetic.lift(np.eye(shape[0]))
        jacobian = np.empty((shape[0], sum(leaf.value.size for leaf in leaves)), dtype=self.output.value.dtype)
        for row, one in zip(jacobian, ones, strict=True):
            gradients = self.output.tape.gradients(self.output, one.reshape(shape), leaves)
            np.concatenate([gradient.ravel() for gradient in gradients], out=row)
        return jacobian


def linearise(network: Described, arithmetic: Arithmetic, arrays: Mapping[str, np.ndarray],
              x: np.ndarray, tape: Tape | None = None) -> Linearisation:
    """Run one example `x`, as it stands in the case, on a new tape or on that one.

    `arrays` are the network's parameters and constants in the arithmetic's numbers, and are not copied.
    """
    tape = Tape(arithmetic) if tape is None else tape
    leaves = {name: tape.leaf(value) for name, value in arrays.items()}
    inputs = x if network.n_tokens is not None else tape.leaf(arithmetic.lift(x))
    return Linearisation(leaves, forward(network, leaves, inputs))
