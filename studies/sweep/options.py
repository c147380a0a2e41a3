"""What a sweep is asked to do: the options of ``python -m studies sweep``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reference import InputError
from reference.case import DType
from studies.networks.names import EncodingName, LayerName
from studies.sweep.metrics import Metric

ODD = tuple(float(value) for value in range(1, 51, 2))


@dataclass(frozen=True)
class Options:
    """The kernel of every combination of these, its spectrum, frequencies and a figure; a table and a page of all.

    A parameter of the activation counts for the layer types that have it. The default is INR_BEP's: eight layer types,
    each over its one parameter, width 1028, two layers and a linear output, 100 points in one dimension. A sweep that
    was stopped goes on where it was when the same command is given again.
    """

    layer: tuple[LayerName, ...] = ("siren", "hosc", "sinc", "gaussian", "quadratic", "multi_quadratic", "laplacian",
                                    "exp_sin")
    """Layer types."""
    w0: tuple[float, ...] = ODD
    """Frequencies: of siren, finer, hosc, ada_hosc, sinc, sinc_plain, wire_*, finer_wire_*."""
    s0: tuple[float, ...] = (10.0,)
    """Inverse widths of the Gaussian of wire_* and finer_wire_*."""
    a: tuple[float, ...] = ODD
    """Of laplacian, quadratic, multi_quadratic, super_gaussian, exp_sin."""
    b: tuple[float, ...] = (2.0,)
    """Powers of super_gaussian."""
    inverse_scale: tuple[float, ...] = ODD
    """Of gaussian and finer_gaussian."""
    wf: tuple[float, ...] = (5.0,)
    """Frequencies inside finer_gaussian."""
    bias_k: tuple[float, ...] = (1.0,)
    """Ranges of the biases of the initialisation finer."""
    param_scale: tuple[float, ...] = (1.0,)
    """What all weights and biases but the output's are multiplied with."""
    initialisation: tuple[Literal["own", "siren", "finer", "standard"], ...] = ("own",)
    """own: siren's for siren, finer's for finer and finer_*, standard for all others."""
    encoding: tuple[EncodingName, ...] = ("none",)
    """Of the coordinates, before the first layer."""
    frequencies: tuple[int, ...] = (8,)
    """Numbers of frequencies of an encoding; of lattice the largest whole number."""
    encoding_scale: tuple[float, ...] = (2.0,)
    """fourier: standard deviations of its frequencies; positional and trident: what they grow by; others have none."""
    trained: tuple[bool, ...] = (False,)
    """Whether the activation's parameters are parameters of the network, in each layer its own."""
    width: tuple[int, ...] = (1028,)
    """Of the layers."""
    depth: tuple[int, ...] = (2,)
    """Numbers of layers with an activation; a linear output comes after them."""
    outputs: tuple[int, ...] = (1,)
    """Numbers of outputs; the spectrum is that of all of them, (N·O)²."""
    dimension: tuple[int, ...] = (1,)
    """Of the coordinates: a grid from 0 to 1 on each axis."""
    points: tuple[int, ...] = (100,)
    """N: int(N^(1/dimension)) places on each axis."""
    seed: tuple[int, ...] = (0,)
    """Of the drawn parameters."""
    method: str = "auto"
    """Which gives the kernels: auto is this project's engine; neural_tangents.ntk_vector_products is INR_BEP's."""
    dtype: DType = "float64"
    """Of the kernel. In float32 (INR_BEP's) eigenvalues below some 1e-5 of the largest are rounding."""
    metric: Metric = "condition_number"
    """What the best of each layer type is chosen by, and what is shown first."""
    figures: bool = True
    """A figure of each point: a quarter of a second each, more than the rest of a point of the default sweep."""
    processes: int = 2
    """How many, of one thread each."""
    out: Path = Path("results/sweep")
    """Folder of the results."""

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise InputError(f"processes={self.processes}: give at least 1")
        for name in ("w0", "s0", "a", "b", "inverse_scale", "wf", "bias_k", "param_scale", "encoding_scale"):
            if wrong := [value for value in getattr(self, name) if not math.isfinite(value)]:
                raise InputError(f"{name} must hold finite numbers, got {wrong[0]}")
        if min(self.seed, default=0) < 0:
            raise InputError(f"seed must be at least 0, got {min(self.seed)}")
        for name in ("points", "width", "depth", "outputs", "dimension", "frequencies"):
            if min(getattr(self, name), default=1) < 1:
                raise InputError(f"{name} must be at least 1, got {min(getattr(self, name))}")
