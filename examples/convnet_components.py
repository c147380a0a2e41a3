"""Which layer of a ConvNet carries its kernel?

    python examples/convnet_components.py [--help]

The tangent kernel is a sum over the parameters, and `impls.ntk(…, components=True)` gives each one's own. A ConvNet is
trained on the digits; before and after, each layer's share of the trace says how much of the gradients' size is its
own, and the alignment of its kernel with the labels how much of what it says is about the classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from torch import nn

from impls import ntk
from studies.alignment import target_alignment
from studies.data import load
from studies.figures import save
from studies.parts import trace_shares


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    """"digits", or a folder of MNIST-format files, or an .npz file with images (N, C, H, W)."""
    channels: int = 16
    probe: int = 60
    """Images between which the kernel is computed."""
    steps: int = 300
    learning_rate: float = 3e-3
    figure: Path = Path("examples/figures/convnet_components.png")


class Found(NamedTuple):
    """By layer its share of the kernel's trace, and how its kernel is aligned with the labels; and the whole kernel."""

    shares: dict[str, float]
    alignments: dict[str, float]
    whole: float


def main(config: Config) -> dict[str, Found]:
    data = load(config.data)
    torch.manual_seed(0)
    network = build(data.x_train.shape[1:], data.classes, config.channels)
    x, y = torch.from_numpy(data.x_train[:config.probe]), data.y_train[:config.probe]
    found = {"before training": measure(network, x, y, data.classes)}
    train(network, torch.from_numpy(data.x_train), torch.from_numpy(data.y_train), config)
    found["after training"] = measure(network, x, y, data.classes)
    with torch.no_grad():
        right = (network(torch.from_numpy(data.x_test)).argmax(1).numpy() == data.y_test).mean()
    print(f"accuracy on test images: {right:.3f}")
    for when, (shares, alignments, whole) in found.items():
        print(f"{when}: the whole kernel is aligned with the labels by {whole:.2f}")
        for layer in shares:
            print(f"  {layer:8} {shares[layer]:6.1%} of the trace, aligned with the labels by {alignments[layer]:.2f}")
    config.figure.parent.mkdir(parents=True, exist_ok=True)
    save(draw(found), config.figure)
    return found


def build(shape: tuple[int, ...], classes: int, channels: int) -> nn.Sequential:
    """Three convolutions and two linear layers."""
    network = nn.Sequential()
    inputs = shape[0]
    for i, stride in enumerate((1, 2, 2), 1):
        network.add_module(f"conv{i}", nn.Conv2d(inputs, channels, 3, stride, 1))
        network.add_module(f"relu{i}", nn.ReLU())
        inputs = channels
    network.add_module("flatten", nn.Flatten())
    places = network(torch.zeros(1, *shape)).shape[1]
    network.add_module("linear", nn.Linear(places, 64))
    network.add_module("relu4", nn.ReLU())
    network.add_module("output", nn.Linear(64, classes))
    return network


def train(network: nn.Module, x: torch.Tensor, y: torch.Tensor, config: Config) -> None:
    optimiser = torch.optim.Adam(network.parameters(), config.learning_rate)
    for _ in range(config.steps):
        rows = torch.randint(len(x), (64,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
        optimiser.step()


def measure(network: nn.Module, x: torch.Tensor, y: np.ndarray, classes: int) -> Found:
    """Of each layer, weights and biases together."""
    components = ntk(network, x, outputs="trace", components=True)
    kernels: dict[str, np.ndarray] = {}
    for name, kernel in components.items():
        layer = name.rpartition(".")[0]
        kernels[layer] = kernels.get(layer, 0) + kernel.numpy()
    labels = np.eye(classes)[y]
    return Found(trace_shares(kernels),
                 {layer: target_alignment(kernel, labels, centred=True) for layer, kernel in kernels.items()},
                 target_alignment(sum(kernels.values()), labels, centred=True))


def draw(found: dict[str, Found]) -> Figure:
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, ((when, each), colour) in enumerate(zip(found.items(), ("#9db8dd", "#0550ae"), strict=True)):
        places = np.arange(len(each.shares)) + 0.4 * (i - 0.5)
        left.bar(places, list(each.shares.values()), 0.38, color=colour, label=when)
        right.bar(places, list(each.alignments.values()), 0.38, color=colour)
        right.axhline(each.whole, color=colour, linestyle="--", linewidth=1, label=f"the whole kernel, {when}")
    for axes, title in ((left, "Share of the kernel's trace"), (right, "Alignment with the labels, centred")):
        axes.set_xticks(range(len(next(iter(found.values())).shares)), list(next(iter(found.values())).shares))
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8)
    right.set_ylim(0, 1)
    right.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main(tyro.cli(Config))
