"""A sequence of tasks made of one data set, each a function of the seed and the task's number alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import scipy.ndimage

from reference import InputError
from studies.config import nearest
from studies.data import Data

Mode = Literal["none", "permuted_input", "permuted_output", "drifting_values", "continuous_input_deformation"]

Kind = Literal["linear", "random_walk", "sinusoidal"]

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class DriftingValues:
    """Of the mode drifting_values: class c is to be answered by a number, at first c, that walks from task to task."""

    drift_std_dev: float = 0.01
    """Standard deviation of a step."""
    repulsion_strength: float = 0.5
    """Of neighbours closer than the gap: each gives way by half of this times (overlap + gap)."""
    min_gap: float = 0.1
    """That neighbours, which keep their order, are to have."""
    lower_bound: float = -20.0
    upper_bound: float = 20.0


@dataclass(frozen=True)
class InputDeformation:
    """Of the mode continuous_input_deformation: images are seen through an affine map A, 2×3, at first the identity."""

    kind: Kind = "linear"
    """Of task t: I + t·max_drift·V, V a random direction of norm 1; I + a walk of six normal numbers; I +
    amplitude·sin(frequency·t), in all six."""
    max_drift: float = 0.01
    """Of linear: the Frobenius norm of a step."""
    drift_std_dev: float = 0.01
    """Of random_walk."""
    amplitude: float = 0.5
    """Of sinusoidal."""
    frequency: float = 0.1
    """Of sinusoidal, in radians a task."""


@dataclass(frozen=True)
class Shift:
    """How the tasks follow each other."""

    mode: Mode = "none"
    """none: all tasks are the data; permuted_input: the pixels are permuted, anew for each task; permuted_output: the
    classes are; drifting_values: a regression whose targets walk; continuous_input_deformation: the images move."""
    tasks: int = 1
    """Their number."""
    values: DriftingValues = field(default_factory=DriftingValues)
    deformation: InputDeformation = field(default_factory=InputDeformation)

    def check(self) -> None:
        """Raise `InputError` for a mode that there is not, and for numbers that make no sense."""
        for value, allowed in ((self.mode, get_args(Mode)), (self.deformation.kind, get_args(Kind))):
            if value not in allowed:
                raise InputError(f"there is no shift {value!r}{nearest(str(value), allowed)}")
        numbers = {f"values.{name}": value for name, value in vars(self.values).items()} | {
            f"deformation.{name}": value for name, value in vars(self.deformation).items() if name != "kind"}
        for name, value in numbers.items():
            signed = name.endswith(("bound", "amplitude", "frequency"))
            if not np.isfinite(value) or (value < 0 and not signed):
                least = "" if signed else " of at least 0"
                raise InputError(f"shift.{name} must be a finite number{least}, got {value}")


def task(data: Data, shift: Shift, index: int, seed: int) -> Data:
    """Task `index`, from 0, of the sequence. Raises `InputError` where the data do not have what the mode changes."""
    shift.check()
    if shift.mode == "none":
        return data
    if shift.mode == "permuted_input":
        order = _rng(seed, index).permutation(data.x_train[0].size)
        return _with_inputs(data, lambda x: x.reshape(len(x), -1)[:, order].reshape(x.shape))
    if shift.mode == "continuous_input_deformation":
        affine = deformation(shift.deformation, index, seed)
        return _with_inputs(data, lambda x: deformed(x, affine))
    if not data.classes:
        raise InputError(f"the mode {shift.mode} is about classes, and the targets of {data.name} are numbers")
    if shift.mode == "permuted_output":
        values: np.ndarray = _rng(seed, index).permutation(data.classes)
    else:
        values = drifted(shift.values, data.classes, index, seed).astype(np.float32)
    return dataclasses.replace(data, y_train=values[data.y_train], y_test=values[data.y_test])


def drifted(how: DriftingValues, classes: int, index: int, seed: int) -> np.ndarray:
    """v (classes,), ascending, after `index` steps."""
    if how.upper_bound - how.lower_bound < (classes - 1) * how.min_gap:
        raise InputError(f"{classes} values with gaps of {how.min_gap} have no place between {how.lower_bound} and "
                         f"{how.upper_bound}; widen the bounds or lower min_gap")
    values = _within(np.arange(classes, dtype=np.float64), how)
    for step in range(1, index + 1):
        values = values + _rng(seed, step).normal(0.0, how.drift_std_dev, classes)
        values = _within(_spaced(_repelled(values, how), how.min_gap), how)
    return values


def _repelled(values: np.ndarray, how: DriftingValues) -> np.ndarray:
    """Neighbours that are too close push each other away, until none are, or four times over all."""
    values = values.copy()
    for _ in range(4 * len(values)):
        if (np.diff(values) > how.min_gap).all():
            break
        for i in range(len(values) - 1):
            overlap = values[i] - (values[i + 1] - how.min_gap)
            if overlap >= 0:
                push = (overlap + how.min_gap) * 0.5 * how.repulsion_strength
                values[i], values[i + 1] = values[i] - push, values[i + 1] + push
    return values


def _spaced(values: np.ndarray, gap: float) -> np.ndarray:
    """In order, each at least a gap above the one before."""
    steps = gap * np.arange(len(values))
    return np.maximum.accumulate(np.sort(values) - steps) + steps


def _within(values: np.ndarray, how: DriftingValues) -> np.ndarray:
    """Moved, and where that is not enough drawn together, into the bounds; gaps above the least give way first."""
    steps = how.min_gap * np.arange(len(values))
    free, room = values - steps, how.upper_bound - how.lower_bound - steps[-1]
    if free[-1] - free[0] > room:
        free = free[0] + (free - free[0]) * room / (free[-1] - free[0])
    values = free + steps
    return values + max(how.lower_bound - values[0], 0.0) - max(values[-1] - how.upper_bound, 0.0)


def deformation(how: InputDeformation, index: int, seed: int) -> np.ndarray:
    """A (2, 3) of task `index`, in coordinates from −1 to 1 over the image, x before y: what is seen at (x, y) is what
    was at A (x, y, 1)ᵀ."""
    if how.kind == "sinusoidal":
        return IDENTITY + how.amplitude * np.sin(how.frequency * index)
    if how.kind == "linear":
        direction = _rng(seed, 0).uniform(-1, 1, (2, 3))
        return IDENTITY + index * how.max_drift * direction / np.linalg.norm(direction)
    steps = [_rng(seed, step).normal(0.0, how.drift_std_dev, (2, 3)) for step in range(1, index + 1)]
    return IDENTITY + sum(steps, np.zeros((2, 3)))


def deformed(x: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) seen through A: between pixels linear, outside 0. The edges of the image are at ±1, as for
    PyTorch's ``grid_sample(align_corners=False)``."""
    if x.ndim != 4:
        raise InputError(f"the mode continuous_input_deformation is about images (N, C, H, W), got examples of shape "
                         f"{x.shape[1:]}")
    height, width = x.shape[2:]
    # Pixel j of n is at (2j + 1)/n − 1; the rows of an array are y. So to those coordinates, through A, and back.
    to_coordinates = np.array([[0, 2 / width, 1 / width - 1], [2 / height, 0, 1 / height - 1], [0, 0, 1]])
    to_pixels = np.array([[0, height / 2, (height - 1) / 2], [width / 2, 0, (width - 1) / 2]])
    pixels = to_pixels @ np.vstack([affine, [0, 0, 1]]) @ to_coordinates
    matrix = np.eye(4)
    matrix[2:, 2:] = pixels[:, :2]
    offset: Any = (0, 0, *pixels[:, 2])
    return scipy.ndimage.affine_transform(x, matrix, offset, order=1, mode="grid-constant")


def _with_inputs(data: Data, change: Callable[[np.ndarray], np.ndarray]) -> Data:
    return dataclasses.replace(data, x_train=change(data.x_train), x_test=change(data.x_test))


def _rng(seed: int, step: int) -> np.random.Generator:
    """Of the pair: with the sum of both, neighbouring seeds would share their tasks."""
    return np.random.default_rng((seed, step))
