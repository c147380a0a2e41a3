"""What ``python -m studies track`` is asked for; each group is a table of the TOML file."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reference import InputError
from studies.sinks.registry import SinkName
from studies.tracking.measure import Measure
from studies.tracking.shifts import Shift
from studies.tracking.units import Activation


def check_seed(seed: int) -> None:
    """Raise `InputError` for one that not all generators take."""
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must be from 0 to 2^32 − 1, got {seed}")


@dataclass(frozen=True)
class Network:
    """What is trained."""

    model: str | None = None
    """FILE.py:FUNCTION, which takes no arguments and returns a torch.nn.Module, an Equinox module (with its state: a
    pair) or a Flax NNX module, in place of all that follows. Seeds of Python, NumPy and PyTorch are set before."""
    kind: Literal["mlp", "convnet"] = "mlp"
    """mlp: linear layers; convnet: 3×3 convolutions of stride 2, for images."""
    width: int = 64
    """Hidden units, or channels."""
    depth: int = 2
    """Hidden layers."""
    activation: Activation = "relu"
    batch_norm: bool = False
    """Normalise before each activation."""
    dropout: float = 0.0
    """Share that is dropped behind each activation."""


@dataclass(frozen=True)
class Optimiser:
    """How it is trained: mini-batches of the mean cross-entropy, or where the targets are numbers of (f − y)²."""

    name: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    """Of sgd."""
    batch_size: int = 50
    steps: int = 300
    """For each task."""


@dataclass(frozen=True)
class Options:
    """Train a network on a data set, or on tasks that shift, and record its kernel, features and weights.

    Everything goes to OUT: track.sqlite (the records), checkpoint.npz, track.png, and the folders of the sinks. A run
    that was stopped, or killed, goes on to the same numbers when the same command is given again.
    """

    framework: Literal["torch", "equinox", "flax"] = "torch"
    """Of the built-in networks."""
    data: str = "digits"
    """digits, an .npz file (x_train, y_train, x_test, y_test), or a folder with one or with MNIST's four files."""
    examples: int | None = None
    """Train on the first ones alone."""
    network: Network = field(default_factory=Network)
    optimiser: Optimiser = field(default_factory=Optimiser)
    shift: Shift = field(default_factory=Shift)
    measure: Measure = field(default_factory=Measure)
    """Without layers, the activations of a built-in network are tracked."""
    every: int = 50
    """Steps between two records; the end of each task is recorded too."""
    at: tuple[int, ...] = ()
    """Further steps that are recorded, such as 1 2 5 10 20 at the beginning."""
    probe: int = 64
    """Examples of the probe batch: the first of the training data, as they are in the first task."""
    evaluate: int = 300
    """Test examples, the first ones, for loss and accuracy of a task."""
    evaluate_seen: bool = False
    """Of all tasks so far, rather than of the current one alone."""
    sinks: tuple[SinkName, ...] = ()
    """Beside the local store."""
    seed: int = 0
    """Of the weights, the order of the examples, dropout and the tasks."""
    out: Path = Path("tracked")

    @property
    def steps(self) -> int:
        """Of all tasks together."""
        return self.shift.tasks * self.optimiser.steps

    def check(self) -> None:
        """Raise `InputError` for numbers that make no sense."""
        for name, value in (("network.width", self.network.width), ("network.depth", self.network.depth),
                            ("optimiser.steps", self.optimiser.steps), ("shift.tasks", self.shift.tasks),
                            ("optimiser.learning_rate", self.optimiser.learning_rate), ("every", self.every),
                            ("optimiser.batch_size", self.optimiser.batch_size), ("probe", self.probe),
                            ("evaluate", self.evaluate), ("examples", 1 if self.examples is None else self.examples)):
            if not 0 < value < math.inf:  # NaN is not, either
                raise InputError(f"{name} must be positive, got {value}")
        for name, value in (("network.dropout", self.network.dropout), ("optimiser.momentum", self.optimiser.momentum)):
            if not 0 <= value < 1:
                raise InputError(f"{name} must be in [0, 1), got {value}")
        check_seed(self.seed)
        if self.network.batch_norm and 1 in (self.optimiser.batch_size, self.examples):
            raise InputError("batch_norm takes mean and variance of a batch, which of one example are none; give "
                             "optimiser.batch_size and examples of at least 2")
        if min(self.at, default=0) < 0:
            raise InputError(f"at must hold steps from 0 on, got {min(self.at)}")

    def as_noted(self) -> dict[str, Any]:
        """What decides about the numbers: all but where they go. Files by their names alone."""
        noted = dataclasses.asdict(self)
        noted = {name: value for name, value in noted.items() if name not in ("out", "sinks")}
        noted["data"] = Path(self.data).name
        noted["network"]["model"] = self.network.model and Path(self.network.model).name
        return noted
