"""Digits by the kernel and by training, as networks grow wide.

    python examples/kernel_against_training.py [--help]

For each width a network is trained by gradient descent with momentum, and its outputs after the same steps are
predicted from its kernel before training. The two approach each other as 1/width, once it is large beside the number
of images; they classify alike long before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from torch import nn

from studies.data import load
from studies.figures import save
from studies.prediction import Linearised, kernels


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    """"digits", or a folder of MNIST-format files, or an .npz file."""
    widths: tuple[int, ...] = (32, 128, 512, 2048)
    train: int = 100
    test: int = 297
    steps: int = 200
    momentum: float = 0.9
    figure: Path = Path("examples/figures/kernel_against_training.png")


class Network(nn.Module):
    """One hidden layer of tanh in the NTK parameterization: weights N(0, 1), each layer divided by √fan_in. With ReLU,
    whose units switch while it is trained, the two approach each other more slowly."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.hidden, self.last = (nn.Parameter(torch.randn(shape, dtype=torch.float64))
                                  for shape in ((inputs, width), (width, outputs)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(x @ self.hidden / len(self.hidden) ** 0.5)
        return hidden @ self.last / len(self.last) ** 0.5


@dataclass(frozen=True)
class Row:
    width: int
    trained: float
    """The accuracy on the test images, in [0, 1]; so is the next."""
    predicted: float
    apart: float
    """Root mean square of the difference of the outputs on them."""
    agree: float
    """On how many of them the two name the same class, in [0, 1]."""


def main(config: Config) -> list[Row]:
    """One row for each width."""
    torch.manual_seed(0)
    data = load(config.data)
    x, x_test = (torch.tensor(images[:n].reshape(n, -1), dtype=torch.float64)
                 for images, n in ((data.x_train, config.train), (data.x_test, config.test)))
    y = torch.tensor(np.eye(data.classes)[data.y_train[: config.train]])
    truth = data.y_test[: config.test]
    print("width   trained  predicted  same class  outputs apart")
    rows = []
    for width in config.widths:
        rows.append(compare(Network(x.shape[1], width, data.classes), x, y, x_test, truth, config))
        row = rows[-1]
        print(f"{row.width:5d}   {row.trained:7.1%}  {row.predicted:9.1%}  {row.agree:10.1%}  {row.apart:13.4f}")
    draw(config, rows)
    return rows


def compare(network: Network, x: torch.Tensor, y: torch.Tensor, x_test: torch.Tensor, truth: np.ndarray,
            config: Config) -> Row:
    # What the kernel says.
    with torch.no_grad():
        f0, f0_test = network(x), network(x_test)
    linearised = Linearised(kernels(network, x, x_test), y, loss="mean", f0=f0, f0_test=f0_test)
    learning_rate = 0.2 * linearised.max_learning_rate(config.momentum)
    predicted = linearised.gradient_descent(config.steps, learning_rate=learning_rate, momentum=config.momentum).test
    assert predicted is not None

    # What training gives.
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=config.momentum)
    for _ in range(config.steps):
        optimiser.zero_grad()
        nn.functional.mse_loss(network(x), y).backward()
        optimiser.step()
    with torch.no_grad():
        trained = network(x_test).numpy()

    classes = trained.argmax(1), predicted.argmax(1)
    right = [float(np.mean(each == truth)) for each in classes]
    return Row(len(network.last), *right, apart=float(np.sqrt(np.mean((trained - predicted) ** 2))),
               agree=float(np.mean(classes[0] == classes[1])))


def draw(config: Config, rows: list[Row]) -> None:
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    widths = [row.width for row in rows]
    left.semilogx(widths, [row.trained for row in rows], "o-", label="trained")
    left.semilogx(widths, [row.predicted for row in rows], "s--", label="predicted by the kernel")
    left.set_title("Test accuracy")
    left.set_ylim(0, 1)
    left.legend(loc="lower right")
    right.loglog(widths, [row.apart for row in rows], "o-", label="outputs apart")
    right.loglog(widths, [rows[-1].apart * widths[-1] / width for width in widths], ":", color="0.5", label="1/width")
    right.set_title("Training from prediction")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("width")
        axes.set_xticks(widths, [str(width) for width in widths])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    save(figure, config.figure)
    print(f"figure: {config.figure}")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
