"""A picture from its coordinates: what training gives, and what the kernel says that it gives, without training.

    python examples/image_regression.py [--help]

A coordinate network (SIREN, Sitzmann et al. 2020) is shown every second pixel of a photograph, and asked for all of
them. Its kernel before training predicts both the pixels that it has seen and those in between, at any step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image
from torch import nn

from studies.figures import save
from studies.prediction import Linearised, kernels


@dataclass(frozen=True)
class Config:
    size: int = 40
    """Pixels a side of the picture; half as many a side are trained on."""
    width: int = 256
    frequency: float = 12.0
    """ω₀ of the first layer: how fine a detail the network can tell apart."""
    steps: tuple[int, ...] = (5, 50, 500)
    """Of gradient descent, at which pictures are made."""
    figure: Path = Path("examples/figures/image_regression.png")


class Siren(nn.Module):
    """Two hidden layers of sines, Sitzmann's initialisation: weights within ±√(6/fan_in), of the first ±1/fan_in."""

    def __init__(self, width: int, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency
        self.first, self.second, self.last = nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, 3)
        hidden = math.sqrt(6 / width)
        for layer, bound in ((self.first, 1 / 2), (self.second, hidden), (self.last, hidden)):
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.sin(self.second(torch.sin(self.frequency * self.first(x)))))


def photograph(size: int) -> np.ndarray:
    """A flower, (size, size, 3) in [0, 1]: the middle of scikit-learn's picture, averaged over blocks."""
    whole = load_sample_image("flower.jpg") / 255
    block = min(whole.shape[:2]) // size
    top, left = ((side - block * size) // 2 for side in whole.shape[:2])
    middle = whole[top: top + block * size, left: left + block * size]
    return middle.reshape(size, block, size, block, 3).mean((1, 3))


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB: −10 log₁₀ of the mean squared error."""
    return -10 * math.log10(float(np.mean((picture - truth) ** 2)))


def main(config: Config) -> dict[str, list[float]]:
    """The picture's quality at each step, by training and by prediction, and how far they are apart."""
    torch.manual_seed(0)
    picture = photograph(config.size)

    # Coordinates in [−1, 1]²; every second pixel each way is an example.
    axis = torch.linspace(-1, 1, config.size, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    x_train, x_test = x[::2, ::2].reshape(-1, 2), x.reshape(-1, 2)
    y = torch.tensor(picture[::2, ::2].reshape(-1, 3))
    network = Siren(config.width, config.frequency).double()

    # The prediction: the kernel and the outputs before training, and nothing else.
    with torch.no_grad():
        f0, f0_test = network(x_train), network(x_test)
    K = kernels(network, x_train, x_test)
    linearised = Linearised(K, y, loss="mean", f0=f0, f0_test=f0_test)
    learning_rate = 0.5 * linearised.max_learning_rate()
    predicted = linearised.gradient_descent(np.array(config.steps), learning_rate=learning_rate).test
    assert predicted is not None
    print(f"{len(x_train)} pixels, kernel {K.train.shape}, learning rate {learning_rate:.3g}")

    # The training.
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate)
    trained = []
    for step in range(1, max(config.steps) + 1):
        optimiser.zero_grad()
        nn.functional.mse_loss(network(x_train), y).backward()
        optimiser.step()
        if step in config.steps:
            with torch.no_grad():
                trained.append(network(x_test).numpy())

    found: dict[str, list[float]] = {"trained": [], "predicted": [], "apart": []}
    for step, ours, theirs in zip(sorted(config.steps), predicted, trained, strict=True):
        ours, theirs = (each.reshape(picture.shape) for each in (ours, theirs))
        found["trained"].append(psnr(theirs, picture))
        found["predicted"].append(psnr(ours, picture))
        found["apart"].append(float(np.sqrt(np.mean((ours - theirs) ** 2))))
        print(f"after {step:5d} steps: {found['trained'][-1]:.2f} dB trained, {found['predicted'][-1]:.2f} dB "
              f"predicted, {found['apart'][-1]:.1e} apart (root mean square)")
    draw(config, picture, np.array(trained), predicted, found)
    return found


def draw(config: Config, picture: np.ndarray, trained: np.ndarray, predicted: np.ndarray,
         found: dict[str, list[float]]) -> None:
    """Above what is trained on and what training gives; below the truth and the prediction."""
    figure = Figure(figsize=(2.1 * (len(config.steps) + 1), 4.8), layout="constrained")
    axes = figure.subplots(2, len(config.steps) + 1)
    for row, (left, title, rest) in enumerate(((picture[::2, ::2], "pixels given", trained),
                                               (picture, "the picture", predicted))):
        axes[row, 0].imshow(left)
        axes[row, 0].set_title(title)
        for column, (step, image) in enumerate(zip(config.steps, rest, strict=True)):
            way = ("trained", "predicted")[row]
            axes[row, column + 1].imshow(image.reshape(picture.shape).clip(0, 1))
            axes[row, column + 1].set_title(f"{way}, {step} steps\n{found[way][column]:.1f} dB", fontsize=10)
    for each in axes.flat:
        each.set_axis_off()
    save(figure, config.figure)
    print(f"figure: {config.figure}")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
