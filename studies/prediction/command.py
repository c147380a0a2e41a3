"""``python -m studies predict``: the outputs of a network through training, from its kernel."""

from __future__ import annotations

import csv
import sys
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from reference import InputError
from studies.data import Data, load
from studies.outputs import outputs
from studies.prediction.blocks import Kernels, kernel_products, kernels
from studies.prediction.clock import speed
from studies.prediction.kept import kept
from studies.prediction.linearised import Linearised, Outputs
from studies.prediction.options import Options
from studies.prediction.solving import MOST_ROWS, Ridge
from studies.tracking.options import Options as TrackOptions
from studies.tracking.trainers.trainer import make

__all__ = ["Options", "run"]

PRODUCTS = "products"
"""As a method: the kernel is not formed."""


class Row(NamedTuple):
    """At one time: the losses, and where the targets are classes the share of examples that are right."""

    at: float
    train_loss: float
    test_loss: float
    train_accuracy: float | None
    test_accuracy: float | None


def run(options: Options, console: Console | None = None) -> int:
    """Do it, print the table, and save it, the outputs and a figure; the exit code."""
    options.check()
    console = console or Console()
    data = load(options.data)
    x, x_test = data.x_train[: options.train], data.x_test[: options.test]
    y, y_test = (_targets(each, data) for each in (data.y_train[: options.train], data.y_test[: options.test]))
    model = make(TrackOptions(options.framework, options.data, network=options.network, seed=options.seed),
                 x.shape[1:], y.shape[1]).model
    K = _kernels(model, x, x_test, y.size, options, console)
    linearised = Linearised(K, y, loss=options.loss, f0=outputs(model, x), f0_test=outputs(model, x_test),
                            ridge=Ridge(options.ridge.value, options.ridge.scale), singular=options.singular)
    console.print(f"{len(x)} examples of {data.name}, kernel {K.train.shape}; gradient descent converges below a "
                  f"learning rate of {linearised.max_learning_rate(options.descent.momentum):.4g}", highlight=False,
                  soft_wrap=True)
    with console.status("the prediction"):
        what, moments, found = _predicted(linearised, options, console)
    if found.jitter or found.truncated:
        console.print(f"jitter {found.jitter:.3g}, {found.truncated} eigenvectors left out", highlight=False)
    rows = [_row(at, train, test, (y, y_test), options, data.classes > 0)
            for at, train, test in zip(moments, found.train, _present(found.test), strict=True)]
    _print(rows, what, console)
    _save(rows, what, moments, found, options)
    console.print(f"table, outputs, figure: {options.out}/predict.csv, .npz, .png", highlight=False, soft_wrap=True)
    return 0


def _targets(y: np.ndarray, data: Data) -> np.ndarray:
    return np.eye(data.classes)[y] if data.classes else y.reshape(len(y), -1)


def _kernels(model: Any, x: np.ndarray, x_test: np.ndarray, rows: int, options: Options, console: Console) -> Kernels:
    """Arrays, kept in the folder, or, where they would be too large or "products" are asked for, operators."""
    as_given = _arrays_of(model)
    if options.method == PRODUCTS or (options.method == "auto" and rows > MOST_ROWS):
        return kernel_products(model, as_given(x), as_given(x_test))
    with console.status("the kernels"):
        found, were_there = kept(options.out, model, x, x_test, options.method, lambda: kernels(
            model, as_given(x), as_given(x_test), method=options.method))
    console.print(f"kernels {'as kept' if were_there else 'kept'} in {options.out}", highlight=False, soft_wrap=True)
    return found


def _arrays_of(model: Any) -> Any:
    """From NumPy's arrays to those of the model's framework."""
    torch = sys.modules.get("torch")
    return torch.from_numpy if torch is not None and isinstance(model, torch.nn.Module) else np.asarray


def _predicted(linearised: Linearised, options: Options, console: Console) -> tuple[str, np.ndarray, Outputs]:
    """What the moments are called, the moments, and the outputs at them."""
    descent = options.descent
    if not descent.steps:
        times = np.array(options.times)
        return "t", times, linearised.gradient_flow(times)
    rate = descent.learning_rate or linearised.max_learning_rate(descent.momentum) / 2
    console.print(f"learning rate {rate:.4g}, momentum {descent.momentum:g}", highlight=False)
    steps = np.array(descent.steps)
    return "step", steps, linearised.gradient_descent(steps, learning_rate=rate, momentum=descent.momentum)


def _present(test: np.ndarray | None) -> np.ndarray:
    if test is None:
        raise InputError("test must be at least 1 example")
    return test


def _row(at: float, train: np.ndarray, test: np.ndarray, targets: tuple[np.ndarray, np.ndarray], options: Options,
         classes: bool) -> Row:
    def loss(f: np.ndarray, y: np.ndarray) -> float:
        return float(speed(options.loss, y.size) / 2 * np.sum((f - y) ** 2))

    def accuracy(f: np.ndarray, y: np.ndarray) -> float | None:
        return float(np.mean(f.argmax(1) == y.argmax(1))) if classes else None

    pairs = list(zip((train, test), targets, strict=True))
    return Row(float(at), *(loss(*pair) for pair in pairs), *(accuracy(*pair) for pair in pairs))


def _print(rows: list[Row], what: str, console: Console) -> None:
    table = Table(*(what, *(name.replace("_", " ") for name in Row._fields[1:])))
    for row in rows:
        table.add_row(f"{row.at:g}", *("" if each is None else f"{each:.4g}" for each in row[1:]))
    console.print(table)


def _save(rows: list[Row], what: str, moments: np.ndarray, found: Outputs, options: Options) -> None:
    from matplotlib.figure import Figure

    from studies.figures import save

    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "predict.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([(what, *Row._fields[1:]), *rows])
    np.savez(options.out / "predict.npz", moments=moments, train=found.train, test=_present(found.test))
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    kinds = ("loss",) if rows[0].train_accuracy is None else ("loss", "accuracy")
    for panel, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        for side in ("train", "test"):
            panel.plot(moments, [row._asdict()[f"{side}_{kind}"] for row in rows], "o-", label=side)
        panel.set_xscale("symlog")
        panel.legend()
        panel.set_title(kind)
        panel.set_xlabel(what)
    save(figure, options.out / "predict.png")
