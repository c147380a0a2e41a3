"""PyTorch: the module and the optimiser as their users have them, with random numbers of their own."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from reference import InputError
from studies.tracking.options import Network, Optimiser, Options

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "selu": nn.SELU, "elu": nn.ELU}


class TorchTrainer:
    """Random numbers, of the weights and of dropout, are drawn from a state of PyTorch's generator that is its own."""

    def __init__(self, model: nn.Module | None, options: Options, shape: tuple[int, ...], outputs: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.model = build(options.network, shape, outputs) if model is None else model
            self._rng = torch.get_rng_state()
        self.layers = () if model is not None else tuple(
            f"activation{i + 1}" for i in range(options.network.depth))
        self._optimiser = _optimiser(self.model, options.optimiser)
        self.model.train()

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        with self._own_numbers(), torch.enable_grad():
            self._optimiser.zero_grad()
            outputs, targets = self.model(torch.from_numpy(x)), torch.from_numpy(y)
            if targets.is_floating_point():
                loss = nn.functional.mse_loss(outputs.reshape(targets.shape), targets)
            else:
                loss = nn.functional.cross_entropy(outputs, targets)
            loss.backward()
            self._optimiser.step()

    def arrays(self) -> dict[str, np.ndarray]:
        memory = self._optimiser.state_dict()["state"]
        return {"rng": self._rng.numpy().copy(),
                **{f"model/{name}": value.detach().cpu().numpy().copy()
                   for name, value in self.model.state_dict().items()},
                **{f"optimiser/{i}/{name}": value.detach().cpu().numpy().copy()
                   for i, of in memory.items() for name, value in of.items() if value is not None}}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        own = {name.removeprefix("model/"): torch.from_numpy(value) for name, value in arrays.items()
               if name.startswith("model/")}
        self.model.load_state_dict(own)
        memory: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in arrays.items():
            if name.startswith("optimiser/"):
                _, i, key = name.split("/")
                memory.setdefault(int(i), {})[key] = torch.from_numpy(value)
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": memory, "param_groups": groups})
        self._rng = torch.from_numpy(arrays["rng"])

    @contextmanager
    def _own_numbers(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._rng)
            yield
            self._rng = torch.get_rng_state()


def build(network: Network, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Parts are named hidden1, norm1, activation1, dropout1, …, output."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    is_convnet = network.kind == "convnet"
    if is_convnet and len(shape) != 3:
        raise InputError(f"a convnet is for images (C, H, W), got examples of shape {shape}")
    if not is_convnet and len(shape) > 1:
        parts["flatten"] = nn.Flatten()
    inputs, size = (next(iter(shape)) if is_convnet else math.prod(shape)), (shape[1:] if is_convnet else ())
    for i in range(1, network.depth + 1):
        parts[f"hidden{i}"] = (nn.Conv2d(inputs, network.width, 3, 2, 1) if is_convnet
                               else nn.Linear(inputs, network.width))
        if network.batch_norm:
            parts[f"norm{i}"] = (nn.BatchNorm2d if is_convnet else nn.BatchNorm1d)(network.width)
        parts[f"activation{i}"] = ACTIVATIONS[network.activation]()
        if network.dropout:
            parts[f"dropout{i}"] = nn.Dropout(network.dropout)
        inputs, size = network.width, tuple((each + 1) // 2 for each in size)
    if is_convnet:
        parts["flatten"] = nn.Flatten()
    parts["output"] = nn.Linear(inputs * math.prod(size), outputs)
    return nn.Sequential(parts)


def _optimiser(module: nn.Module, how: Optimiser) -> torch.optim.Optimizer:
    params = [param for param in module.parameters() if param.requires_grad]
    if how.name == "adam":
        return torch.optim.Adam(params, how.learning_rate)
    return torch.optim.SGD(params, how.learning_rate, momentum=how.momentum)
