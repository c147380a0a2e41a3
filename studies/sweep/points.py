"""The points of a sweep: each is a network, its numbers and a grid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from impls import load
from reference import InputError
from reference.case import DType
from studies.networks.activations import layer
from studies.networks.coordinates import Architecture, Numbers, grid
from studies.networks.initialisations import OWN
from studies.networks.names import EncodingName, Initialisation, LayerName
from studies.sweep.options import Options

SCALED: tuple[EncodingName, ...] = ("fourier", "positional", "trident")
"""Encodings that have a scale."""

AXES = ("layer", "w0", "s0", "a", "b", "inverse_scale", "wf", "initialisation", "bias_k", "param_scale", "encoding",
        "frequencies", "encoding_scale", "trained", "width", "depth", "outputs", "dimension", "points", "seed")
"""What may be swept, in the order of the table's columns."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One kernel of a sweep; `points` is N as it was asked for."""

    architecture: Architecture
    numbers: Numbers
    points: int
    dtype: DType
    method: str = "auto"

    @property
    def program(self) -> tuple[Architecture, int, DType, str]:
        """Points for which this is the same are computed by one compiled program."""
        return self.architecture, self.points, self.dtype, self.method

    def row(self) -> Row:
        """By the names of `AXES`; None for what this point does not have."""
        given = {**asdict(self.architecture), **asdict(self.numbers), **dict(self.numbers.activation),
                 "points": self.points}
        if given["initialisation"] != "finer":
            given["bias_k"] = None
        if given["encoding"] == "none":
            given["frequencies"] = None
        if given["encoding"] not in SCALED:
            given["encoding_scale"] = None
        return {name: given.get(name) for name in AXES}

    def key(self, versions: str = "") -> str:
        """The same for the same point, dtype, method and versions, in any process."""
        text = json.dumps([self.row(), self.dtype, self.method, versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def name(self) -> str:
        """What sets it apart, for a title: "siren, w0 3, seed 1"."""
        row = self.row()
        return ", ".join([row["layer"], *(f"{name} {row[name]:g}" for name in layer(row["layer"]).parameters),
                          *([row["encoding"]] if row["encoding"] != "none" else []),
                          f"{row['initialisation']}", f"width {row['width']}", f"seed {row['seed']}"])


def points_of(options: Options) -> list[Point]:
    """All of a sweep, each once, those of one program side by side.

    Raises `InputError` for what has no values, and for a grid that there is not.
    """
    for name in AXES:
        if not getattr(options, name):
            raise InputError(f"{name} has no values; leave it out for the default, or give at least one")
    for dimension, n in product(options.dimension, options.points):
        if len(grid(dimension, n)) * min(options.outputs) < 4:
            raise InputError(f"a grid of {n} points in {dimension} dimensions has fewer than 4 rows, too "
                             "few for frequencies; give more points")
    _check_method(options.method)
    return list(dict.fromkeys(point for name in options.layer for point in _of_layer(options, name)))


def _check_method(name: str) -> None:
    """Raise `InputError` for a method that gives no kernel of a JAX function; `RegistryError` for one that is none."""
    if name == "auto":
        return
    method = load(name)
    if method.framework != "jax" or method.kind != "exact" or not hasattr(method, "kernel"):
        raise InputError(f"method={name!r} gives no exact kernel of a function of JAX; give auto, or one such as "
                         "neural_tangents.ntk_vector_products")


def _of_layer(options: Options, name: LayerName) -> Iterator[Point]:
    parameters = layer(name).parameters
    for encoded, width, depth, outputs, dimension, n, trained in product(
            _encodings(options), options.width, options.depth, options.outputs, options.dimension, options.points,
            options.trained):
        encoding, frequencies, scale = encoded
        architecture = Architecture(name, width, depth, dimension, outputs, encoding, frequencies, trained)
        for values in product(*(getattr(options, parameter) for parameter in parameters)):
            for drawn, factor, seed in product(_initialisations(options, name), options.param_scale, options.seed):
                kind, bias_k = drawn
                yield Point(architecture, Numbers(tuple(zip(parameters, values, strict=True)), kind, bias_k, factor,
                                                  scale, seed), n, options.dtype, options.method)


def _encodings(options: Options) -> Iterator[tuple[EncodingName, int, float]]:
    for name in options.encoding:
        scales = options.encoding_scale if name in SCALED else (1.0,)
        for m, scale in product(options.frequencies if name != "none" else (1,), scales):
            yield name, m, scale


def _initialisations(options: Options, name: LayerName) -> Iterator[tuple[Initialisation, float]]:
    for asked in options.initialisation:
        kind: Initialisation = OWN.get(name, "standard") if asked == "own" else asked
        for bias_k in options.bias_k if kind == "finer" else (1.0,):
            yield kind, bias_k
