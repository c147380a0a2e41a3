"""Does a network that has learned many tasks still learn the next?

    python examples/plasticity.py [--help]

The pixels of the digits are permuted anew for each task, and one network is trained on all tasks one after the other:
once with a small learning rate, once with a large one. Both learn the first tasks alike. With the large one more and
more units die, the rank of the last hidden features falls with them, and in the end tasks are learned half as well; the
rank of the kernel tells nothing of it. Kernel and features are those of one probe batch, the same all along.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.figures import save
from studies.sinks.local import LocalStore
from studies.tracking.options import Network, Optimiser, Options
from studies.tracking.run import track
from studies.tracking.shifts import Shift


@dataclass(frozen=True)
class Config:
    rates: tuple[float, ...] = (0.02, 0.1)
    """Learning rates."""
    tasks: int = 12
    steps: int = 120
    """For each task."""
    width: int = 64
    probe: int = 64
    """Examples on which kernel and features are measured."""
    figure: Path = Path("examples/figures/plasticity.png")


class Found(NamedTuple):
    """Of one learning rate, each as tasks end: accuracies (tasks,); the rest begins with the initialisation."""

    accuracy: np.ndarray
    inactive: np.ndarray
    rank: np.ndarray
    kernel_rank: np.ndarray


def main(config: Config) -> dict[float, Found]:
    found = {}
    for rate in config.rates:
        with tempfile.TemporaryDirectory() as folder:
            found[rate] = figures_of(run(rate, config, Path(folder)), config)
        accuracy, inactive, rank, _ = found[rate]
        print(f"learning rate {rate}: accuracy {accuracy[0]:.2f} on the first task, {accuracy[-1]:.2f} on the last; "
              f"inactive units {inactive[0]:.0%}, then {inactive[-1]:.0%}; effective rank of the features "
              f"{rank[0]:.1f}, then {rank[-1]:.1f}")
    config.figure.parent.mkdir(parents=True, exist_ok=True)
    save(draw(found), config.figure)
    return found


def run(rate: float, config: Config, folder: Path) -> LocalStore:
    """One network through all tasks. A record at the end of each is enough here."""
    return track(Options(
        network=Network(width=config.width, depth=2),
        optimiser=Optimiser("sgd", rate, momentum=0.9, batch_size=50, steps=config.steps),
        shift=Shift("permuted_input", config.tasks),
        every=config.steps, probe=config.probe, out=folder))


def figures_of(store: LocalStore, config: Config) -> Found:
    last = "layer/activation2"
    return Found(np.array([store.scalars(f"task/{task}/accuracy")[1][-1] for task in range(config.tasks)]),
                 store.scalars(f"{last}/inactive_units")[1], store.scalars(f"{last}/effective_rank")[1],
                 store.scalars("kernel/effective_rank")[1])


def draw(found: dict[float, Found]) -> Figure:
    figure = Figure(figsize=(13, 3.1), layout="constrained")
    panels = figure.subplots(1, 4)
    titles = ("Accuracy on each task, as it ends", "Inactive units of the last hidden layer",
              "Effective rank of its features", "Effective rank of the kernel")
    for i, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        for (rate, each), colour in zip(found.items(), ("#0550ae", "#b35900", "#1a7f37", "#8250df"), strict=False):
            values = each[i]
            first = 1 if i == 0 else 0
            axes.plot(range(first, first + len(values)), values, ".-", color=colour, label=f"learning rate {rate}")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("tasks learned", fontsize=9)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


if __name__ == "__main__":
    main(tyro.cli(Config))
