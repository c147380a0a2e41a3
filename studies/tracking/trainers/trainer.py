"""What the training loop asks of a framework."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from impls import RegistryError
from impls.own.recognise import as_network
from impls.registry import import_file
from reference import InputError
from studies.config import nearest
from studies.tracking.options import Options
from studies.tracking.untouched import untouched


class Trainer(Protocol):
    """A network in training. `model` is what `impls.ntk` takes; `layers` are the paths of its activations, if known."""

    layers: tuple[str, ...]

    @property
    def model(self) -> Any: ...

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        """One update by a mini-batch: `y` integers for the cross-entropy, or numbers for the mean of (f − y)²."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """All that the next steps depend on: weights, buffers, the optimiser's memory, random generators."""
        ...

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `arrays` gave."""
        ...


def make(options: Options, shape: tuple[int, ...], outputs: int) -> Trainer:
    """A trainer of the built-in network for examples of `shape`, or of the user's own, at its initialisation.

    The process's random generators are left as they were.
    """
    if options.network.model is None:
        return _trainer(options.framework)(None, options, shape, outputs)
    make_model = _function(options.network.model)
    with untouched():
        _set_seeds(options.seed)
        model = make_model()
    network = as_network(model)
    if network is None:
        raise InputError(f"{options.network.model} returns a {type(model).__name__}, which is no torch.nn.Module, "
                         "Equinox module or Flax NNX module")
    framework = network.framework if network.framework != "jax" else "flax"
    if framework == "flax" and isinstance(model, tuple):
        raise InputError(f"{options.network.model} returns a function with its parameters; what is trained here is a "
                         "module. Train it in a loop of your own, with `studies.tracking.Tracker`")
    return _trainer(framework)(model, options, shape, outputs)


def _function(spec: str) -> Any:
    """Of FILE.py:FUNCTION. Raises `RegistryError`, with what the file says where it fails."""
    file, colon, name = spec.rpartition(":")
    path = Path(file).expanduser()
    if not colon or path.suffix != ".py" or not path.is_file():
        raise RegistryError(f"network.model is FILE.py:FUNCTION, got {spec!r}, of which there is no such file")
    try:
        module = import_file(path.resolve())
    except Exception as error:
        raise RegistryError(f"importing {path.name} raised {type(error).__name__}: {error}") from error
    if not callable(found := getattr(module, name, None)):
        raise RegistryError(f"{path.name} has no function {name!r}{nearest(name, vars(module))}")
    return found


def _trainer(framework: str) -> Any:
    try:
        if framework == "torch":
            from studies.tracking.trainers.torch import TorchTrainer as found
        elif framework == "equinox":
            from studies.tracking.trainers.equinox import EquinoxTrainer as found
        else:
            from studies.tracking.trainers.flax import FlaxTrainer as found
    except ModuleNotFoundError as error:
        raise InputError(f"training with {framework} needs the package {error.name}: "
                         'pip install -c constraints.txt ".[all]"') from error
    return found


def _set_seeds(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)
