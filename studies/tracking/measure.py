"""Everything that is measured at one step, on the probe batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from impls import ntk
from reference import InputError
from studies.alignment import target_alignment
from studies.config import nearest
from studies.eigenvalues import summary
from studies.matrix import as_array
from studies.sinks import Record
from studies.spectrum import spectrum
from studies.tracking.changes import change, velocity, weight_figures
from studies.tracking.features import Feature, observe, weights
from studies.tracking.losses import is_classes, loss_derivative, scores
from studies.tracking.ranks import EPSILON, PROPORTION, Definition, Drops, flat, rank_drop, ranks, singular_values
from studies.tracking.units import Activation, inactive_units


@dataclass(frozen=True)
class Measure:
    """What is recorded, under the names that stand with each field."""

    kernel: bool = True
    """The tangent kernel: kernel/eigenvalues and what sums them up, kernel/change, /spectral_change, /alignment (with
    that at the first step), /velocity, /relative_velocity (since the step before), /target_alignment."""
    outputs: Literal["trace", "full"] = "trace"
    """Of the kernel: (N, N), or (N·O)²."""
    method: str = "auto"
    """That computes it, as in `impls.ntk`. In JAX a network with running statistics or dropout has other constants at
    each step, for which the engine that "auto" takes is planned anew, in a second; "equinox.exact" is not."""
    seed: int = 0
    """Of a stochastic method; the same at every step."""
    layers: tuple[str, ...] = ()
    """Paths of layers, with ":input" behind for what a layer is given. In order, from the first to the last:
    layer/NAME/…_rank, /inactive_units, /singular_values; rank_drop/RANK/… over them."""
    activations: dict[str, Activation] = field(default_factory=dict)
    """Of layers whose activation is not known by itself, by the names in `layers`."""
    conjugate: bool = True
    """Of each of these layers the conjugate kernel φφᵀ/h, h its features: conjugate/NAME/…, as for the kernel."""
    weights: bool = True
    """weights/NAME/magnitude, the mean |w|, and /distance from the first step; weights/change of all."""
    weight_spectra: bool = False
    """weights/NAME/singular_values too, of which the squares are the eigenvalues of W Wᵀ, and /spectral_distance, ‖W −
    W₀‖ in the 2-norm: two SVDs of each matrix."""
    proportion: float = PROPORTION
    """That the approximate ranks have to reach."""
    epsilon: float = EPSILON
    """Of the largest singular value, from which on the numerical rank counts."""
    drops: Drops = "ratio"
    """How a rank falls from layer to layer."""
    theoretical_first: bool = True
    """Begin the curve of ranks with min(N, features) of the first layer."""
    keep_kernels: bool = False
    """Store the kernels themselves too."""

    def check(self) -> None:
        """Raise `InputError` for what is none of the values that there are."""
        for name, allowed in (("outputs", ("trace", "full")), ("drops", get_args(Drops))):
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"{name}={value!r} is not one of {', '.join(allowed)}")
        for name in ("proportion", "epsilon"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise InputError(f"{name} must be above 0 and at most 1, got {value}")
        if isinstance(self.layers, str):
            raise InputError(f"layers={self.layers!r} is one name; give a tuple, ({self.layers!r},)")
        for layer, activation in self.activations.items():
            if layer.partition("#")[0] not in self.layers:
                raise InputError(f"activations names the layer {layer!r}, which is not in layers"
                                 f"{nearest(layer, self.layers)}")
            if activation not in get_args(Activation):
                raise InputError(f"the activation {activation!r} of {layer} is not known to be flat anywhere"
                                 f"{nearest(activation, get_args(Activation))}")


@dataclass
class Memory:
    """What later measurements are compared with, by name: the first arrays, the latest, and the steps of those.

    `step` is that of the latest record; where it has no kernel there is no velocity after it.
    """

    first: dict[str, np.ndarray] = field(default_factory=dict)
    previous: dict[str, np.ndarray] = field(default_factory=dict)
    measured: dict[str, int] = field(default_factory=dict)
    step: int | None = None


def measure(step: int, model: Any, params: Any, x: Any, y: np.ndarray | None, what: Measure, memory: Memory) -> Record:
    """The record of this step; `memory` is brought up to it.

    What cannot be measured after the first step (a kernel that is no longer finite, features that are all zero) is left
    out, with the reason in the record's notes; at the first step that is an `InputError`.
    """
    found = Found(step, memory)
    now = weights(model, params=params) if what.weights or what.weight_spectra else {}
    _check_same(now, memory)
    observation = observe(model, x, what.layers, params=params)
    if y is not None:
        found.scalars |= scores("probe", observation.outputs, y)
        found.scalars["probe/loss_derivative"] = loss_derivative(observation.outputs, y)
    _features(found, observation.features, what)
    with found.part("kernel"):
        if what.kernel:
            kernel = as_array(ntk(model, x, params=params, outputs=what.outputs, method=what.method, seed=what.seed),
                              "kernel")
            found.kernel("kernel", kernel, what.keep_kernels)
            if y is not None:
                found.scalars["kernel/target_alignment"] = _target_alignment(kernel, y, observation.outputs)
    with found.part("weights"):
        if what.weights or what.weight_spectra:
            found.weights(now, what)
    memory.step = step
    return Record(step, found.scalars, found.spectra, found.arrays, found.notes)


def _check_same(now: Mapping[str, np.ndarray], memory: Memory) -> None:
    """Raise `InputError` for the parameters of another network than at the first step."""
    first = {name.removeprefix("weights/"): value.shape for name, value in memory.first.items()
             if name.startswith("weights/")}
    shapes = {name: value.shape for name, value in now.items()}
    if first and shapes != first:
        changed = min(name for name in {*first, *shapes} if first.get(name) != shapes.get(name))
        raise InputError(f"the network is not the one of the first step: {changed} was {first.get(changed)}, and is "
                         f"{shapes.get(changed)}; give another one a tracker of its own")


class Found:
    """The record in the making."""

    def __init__(self, step: int, memory: Memory) -> None:
        self._step, self._memory, self._strict = step, memory, memory.step is None
        self.scalars: dict[str, float] = {}
        self.spectra: dict[str, np.ndarray] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.notes: dict[str, str] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Inside, what is not defined is noted. At the first step it is the caller's to mend."""
        try:
            yield
        except InputError as error:
            if self._strict:
                raise
            self.notes[name] = str(error)

    def kernel(self, name: str, kernel: np.ndarray, keep: bool) -> None:
        """Its spectrum, what sums that up, and how far it has gone. One that has none leaves no trace in the memory."""
        if (first := self._memory.first.get(name, kernel)).shape != kernel.shape:
            raise InputError(f"{name} had shape {first.shape} at the first step, and has {kernel.shape}")
        whole = spectrum(kernel)
        self.spectra[f"{name}/eigenvalues"] = whole.values
        figures = summary(kernel, whole)
        memory = self._memory
        figures |= change(kernel, memory.first.setdefault(name, kernel))
        if name in memory.previous and memory.measured[name] == memory.step:
            figures |= velocity(kernel, memory.previous[name], self._step - memory.measured[name])
        memory.previous[name], memory.measured[name] = kernel, self._step
        self.scalars |= {f"{name}/{key}": value for key, value in figures.items()}
        if keep:
            self.arrays[name] = kernel

    def weights(self, now: Mapping[str, np.ndarray], what: Measure) -> None:
        """Kernels of convolutions count as matrices from all but their first axis to that."""
        first = {name: self._memory.first.setdefault(f"weights/{name}", value) for name, value in now.items()}
        if what.weights:
            self.scalars |= weight_figures(now, first)
        for name, value in now.items() if what.weight_spectra else ():
            if value.ndim > 1:
                self.spectra[f"weights/{name}/singular_values"] = singular_values(value)
                self.scalars[f"weights/{name}/spectral_distance"] = float(singular_values(value - first[name])[0])


def _features(found: Found, features: Mapping[str, Feature], what: Measure) -> None:
    curves: dict[str, list[float]] = {}
    for name, feature in features.items():
        values = feature.values
        with found.part(f"layer/{name}"):
            sigma, shape = singular_values(values), (len(values), values[0].size)
            of = ranks(sigma, shape=shape, proportion=what.proportion, epsilon=what.epsilon)
            for rank, value in of.items():
                curves.setdefault(rank, [float(min(shape))] if what.theoretical_first else []).append(value)
            found.spectra[f"layer/{name}/singular_values"] = sigma
            found.scalars |= {f"layer/{name}/{rank}_rank": value for rank, value in of.items()}
            activation = what.activations.get(name) or feature.activation
            if activation is not None:
                found.scalars[f"layer/{name}/inactive_units"] = inactive_units(values, activation)
        if what.conjugate:
            with found.part(f"conjugate/{name}"):
                found.kernel(f"conjugate/{name}", conjugate_kernel(values), what.keep_kernels)
    found.scalars |= _rank_drops(curves, what.drops)


def conjugate_kernel(features: np.ndarray) -> np.ndarray:
    """φφᵀ/h (N, N) in float64, of features φ (N, …), each flattened to h numbers (Fan, Wang 2020, arXiv:2005.11879); of
    complex ones Re φφᴴ/h, each being the pair of two real ones."""
    phi = flat(features)
    return np.real(phi @ phi.conj().T) / phi.shape[1]


def _rank_drops(curves: Mapping[str, list[float]], drops: Drops) -> dict[str, float]:
    """By both definitions; the area is the same in both. The nuclear norm is no count that falls, and has none."""
    found: dict[str, float] = {}
    for rank, definition in itertools.product(curves, get_args(Definition)):
        if rank != "nuclear" and len(curves[rank]) > 1:
            gini, centroid, area = rank_drop(curves[rank], definition, drops)
            found |= {f"rank_drop/{rank}/{definition}_gini": gini, f"rank_drop/{rank}/{definition}_centroid": centroid,
                      f"rank_drop/{rank}/area": area}
    return found


def _target_alignment(kernel: np.ndarray, y: np.ndarray, outputs: np.ndarray) -> float:
    """Of numbers as they are, of classes with a column for each output."""
    return target_alignment(kernel, np.eye(outputs[0].size)[y] if is_classes(y) else y)
