"""Where the case of a cell comes from: a description that is sent to a process, which builds the case there."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import reference
from bench.cells.data import Inputs
from reference import MLP, Case, ConvNet, Described, draw_params, seed_of


class CaseSource(Protocol):
    """What the sources below offer. Everything about them can be pickled."""

    @property
    def name(self) -> str: ...

    @property
    def network(self) -> str:
        """The kind of network: "MLP", "ConvNet", or what the user calls it."""
        ...

    @property
    def data(self) -> str:
        """Where the inputs come from."""
        ...

    @property
    def digest(self) -> str:
        """Of all that the case is built from."""
        ...

    def build(self) -> Case:
        """The case, the same in every process. Raises `InputError` where it cannot be built."""
        ...


@dataclass(frozen=True, eq=False)
class NetworkOnInputs:
    """A shared network, its parameters drawn from the seed of the case's name, on given inputs."""

    name: str
    description: MLP | ConvNet
    inputs: Inputs

    @property
    def network(self) -> str:
        return type(self.description).__name__

    @property
    def data(self) -> str:
        return self.inputs.name

    @property
    def digest(self) -> str:
        return digest_of(self.name, repr(self.description), *contents_of(self.inputs))

    def build(self) -> Case:
        params = draw_params(self.description, np.random.default_rng(seed_of(self.name)))
        return Case(self.name, self.description, params, self.inputs.x1, self.inputs.x2)


@dataclass(frozen=True, eq=False)
class NetworkOnNoise:
    """A shared network; its parameters and its inputs are drawn from the seed of the case's name."""

    name: str
    description: Described
    n1: int
    n2: int | None = None
    """None means x2 = x1."""

    @property
    def network(self) -> str:
        return self.name.split("-")[0]

    @property
    def data(self) -> str:
        return "random"

    @property
    def digest(self) -> str:
        return digest_of(self.name, repr(self.description), str(self.n1), str(self.n2))

    def build(self) -> Case:
        return reference.random_case(self.name, self.description, self.n1, self.n2)


@dataclass(frozen=True, eq=False)
class Fixture:
    """One of the shared cases, whose kernel is proved."""

    name: str

    @property
    def network(self) -> str:
        return type(reference.case(self.name).network).__name__

    @property
    def data(self) -> str:
        return "random"

    @property
    def digest(self) -> str:
        case = self.build()
        return digest_of(repr(case.network), *_bytes(case.x1, case.x2), *_bytes(*case.params.values()))

    def build(self) -> Case:
        return reference.case(self.name)


def size_of(source: CaseSource) -> float:
    """About how much there is to compute, in no unit: parameters × places where they multiply × examples × outputs; 1.0
    where it is not known."""
    if not isinstance(source, NetworkOnInputs | NetworkOnNoise):
        return 1.0
    network = source.description
    multiplied = sum(math.prod(shape) * _places(network, name) for name, shape in network.param_shapes().items())
    if isinstance(source, NetworkOnInputs):
        examples = len(source.inputs.x1) + (0 if source.inputs.x2 is None else len(source.inputs.x2))
    else:
        examples = source.n1 + (source.n2 or 0)
    return float(multiplied * examples * (network.n_outputs or 1))


def _places(network: Any, name: str) -> int:
    """Of an image, at each of which a convolution multiplies by its parameters."""
    return math.prod(network.input_shape[1:]) if isinstance(network, ConvNet) and name.startswith("conv") else 1


def contents_of(inputs: Inputs | None) -> list[bytes]:
    """What a digest of these inputs is made from."""
    return [] if inputs is None else _bytes(inputs.x1, inputs.x2)


def _bytes(*arrays: np.ndarray | None) -> list[bytes]:
    return [b"" if array is None else str(array.shape).encode() + array.tobytes() for array in arrays]


def digest_of(*parts: str | bytes) -> str:
    """16 hexadecimal digits that differ where any part does."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]
