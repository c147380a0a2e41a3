"""What ``python -m studies predict`` is asked for; each group is a table of the TOML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from reference import InputError
from studies.prediction.clock import SquaredError, check_descent, times
from studies.prediction.resolution import Singular
from studies.prediction.solving import Ridge
from studies.tracking.options import Network, check_seed


@dataclass(frozen=True)
class Descent:
    """Steps of gradient descent in place of times."""

    steps: tuple[int, ...] = ()
    """Where given, these are predicted, and no times."""
    learning_rate: float = 0.0
    """0 is half of the largest that converges."""
    momentum: float = 0.0


@dataclass(frozen=True)
class RidgeOptions:
    """Added to the diagonal of the kernel."""

    value: float = 0.0
    scale: Literal["absolute", "mean_trace"] = "mean_trace"


@dataclass(frozen=True)
class Options:
    """Predict what training on the squared error makes of a network, from its kernel, without training.

    Classes are met as one-hot targets. The table is printed and written to OUT/predict.csv, the outputs to
    OUT/predict.npz, the figure to OUT/predict.png.
    """

    framework: Literal["torch", "equinox", "flax"] = "torch"
    """Of the built-in networks."""
    network: Network = field(default_factory=Network)
    data: str = "digits"
    """digits, an .npz file (x_train, y_train, x_test, y_test), or a folder with one or with MNIST's four files."""
    train: int = 100
    """Train on the first ones."""
    test: int = 200
    method: str = "auto"
    """Which gives the kernel (`python -m bench list`). "products" forms none, and multiplies vectors by it; so does
    "auto" where examples times outputs are more than 15,000."""
    loss: SquaredError = "mean"
    """mean: Σ(f−y)²/NO, as torch.nn.MSELoss(); sum: Σ(f−y)²; half_mean and half_sum: half of these."""
    times: tuple[float, ...] = (0.0, 10.0, 100.0, 1000.0, 10000.0)
    """Of gradient flow; inf is the end of training."""
    descent: Descent = field(default_factory=Descent)
    ridge: RidgeOptions = field(default_factory=RidgeOptions)
    singular: Singular = "error"
    """Where eigenvalues are below the kernel's rounding: an error, a jitter that is reported, or left out."""
    seed: int = 0
    out: Path = Path("results/predict")

    def check(self) -> None:
        """Raise `InputError` for numbers that make no sense."""
        for name, value in (("train", self.train), ("test", self.test), ("network.width", self.network.width),
                            ("network.depth", self.network.depth)):
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.network.dropout < 1:
            raise InputError(f"network.dropout must be in [0, 1), got {self.network.dropout}")
        check_seed(self.seed)
        times(np.array(self.times))
        check_descent(self.descent.learning_rate or 1.0, self.descent.momentum)
        if min(self.descent.steps, default=0) < 0:
            raise InputError(f"descent.steps must be at least 0, got {min(self.descent.steps)}")
        _ = Ridge(self.ridge.value, self.ridge.scale)
