"""Images classified by kernels: of the infinitely wide network, of one network, and of its training.

    python examples/infinite_and_empirical.py [--data FOLDER] [--help]

FOLDER holds the four files of MNIST's format (train-images-idx3-ubyte.gz, …); without it, scikit-learn's digits are
taken. A network of two hidden layers, W_std 1 and b_std 0 in the NTK parameterization: its infinite kernels NTK and
NNGP by neural-tangents, its own NTK by `impls.ntk`; then the outputs of all three through training on the squared
error, and how many test images they classify.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure

from impls.frameworks.jax.neural_tangents import load as load_neural_tangents
from studies.data import load
from studies.figures import save
from studies.prediction import Ensemble, Kernels, Linearised, Ridge, kernels

load_neural_tangents()  # on today's JAX
from neural_tangents import stax  # noqa: E402


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    """"digits", or a folder of MNIST-format files, or an .npz file."""
    train: int = 100
    test: int = 200
    width: int = 512
    figure: Path = Path("examples/figures/infinite_and_empirical.png")


def main(config: Config) -> dict[str, float]:
    """The accuracy at the end of training by each kernel, and how far the network's own is from the infinite one."""
    data = load(config.data)
    x, x_test = (images[:n].reshape(n, -1).astype(float)
                 for images, n in ((data.x_train, config.train), (data.x_test, config.test)))
    labels, labels_test = data.y_train[: config.train], data.y_test[: config.test]
    y = np.eye(data.classes)[labels] - 1 / data.classes

    with jax.enable_x64(True):
        network: Any = stax.serial(
            stax.Dense(config.width), stax.Relu(), stax.Dense(config.width), stax.Relu(), stax.Dense(data.classes))
        init_fn, apply_fn, kernel_fn = network

        # The two kernels of infinite width, (N, N): shared by all outputs.
        def infinite(which: str) -> Kernels:
            return Kernels(*(np.asarray(kernel_fn(*pair, which)) for pair in ((x, None), (x_test, x), (x_test, None))))

        ntk, nngp = infinite("ntk"), infinite("nngp")

        # The kernel of one network of that width, (N, N, O, O), and its outputs before training.
        params = init_fn(jax.random.key(0), x.shape)[1]
        empirical = kernels(apply_fn, x, x_test, params=params)
        f0, f0_test = apply_fn(params, jnp.asarray(x)), apply_fn(params, jnp.asarray(x_test))

    mean = np.trace(empirical.train, axis1=2, axis2=3) / data.classes
    apart = float(np.linalg.norm(mean - ntk.train) / np.linalg.norm(ntk.train))
    print(f"{data.name}: {config.train} images to train on, {config.test} to test")
    print(f"the kernel of one network of width {config.width} is {apart:.1%} from that of infinite width (Frobenius)")

    # Outputs through training. A ridge of 1e-6 of the mean trace, as for noise-free kernel regression.
    ridge = Ridge(1e-6, "mean_trace")
    times = np.append(np.logspace(0, 6, 25), np.inf)
    one = Linearised(empirical, y, loss="half_mean", f0=f0, f0_test=f0_test, ridge=ridge).gradient_flow(times).test
    ensemble = Ensemble(y, loss="half_mean", ntk=ntk, nngp=nngp, ridge=ridge)
    by_ntk, by_nngp = ensemble.at(times, "ntk"), ensemble.at(times, "nngp")
    curves = {"one network, linearised": one, "infinite width, NTK": by_ntk.mean, "infinite width, NNGP": by_nngp.mean}
    accuracies = {name: (np.argmax(outputs, -1) == labels_test).mean(-1) for name, outputs in curves.items()}
    for name, curve in accuracies.items():
        print(f"{name:25s} classifies {curve[-1]:.1%} of the test images when training ends")
    spread = np.sqrt(np.diagonal(by_ntk.covariance[-1])).mean()
    print(f"networks of an infinite ensemble differ by ±{spread:.2f} there (standard deviation of an output)")

    draw(config, {"infinite width": ntk.train, f"width {config.width}": mean}, labels, times, accuracies)
    return {**{name: float(curve[-1]) for name, curve in accuracies.items()}, "apart": apart}


def draw(config: Config, images: dict[str, Any], labels: np.ndarray, times: np.ndarray,
         accuracies: dict[str, np.ndarray]) -> None:
    """The kernels with the images in order of their classes, and the accuracy through training."""
    figure = Figure(figsize=(10, 3.3), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
    order = np.argsort(labels, kind="stable")
    largest = max(kernel.max() for kernel in images.values())
    for each, (name, kernel) in zip(axes[:2], images.items(), strict=True):
        each.imshow(kernel[np.ix_(order, order)], vmin=0, vmax=largest)
        each.set_title(f"NTK, {name}")
        each.set_xlabel("image, by class")
    for name, curve in accuracies.items():
        axes[2].semilogx(times[:-1], curve[:-1], label=name)
    axes[2].set_title("Test accuracy")
    axes[2].set_xlabel("training time t (loss Σ(f−y)²/2NO)")
    axes[2].legend(loc="lower right", fontsize=8)
    axes[2].grid(alpha=0.3)
    save(figure, config.figure)
    print(f"figure: {config.figure}")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
