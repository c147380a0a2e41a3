"""``python -m tests.studies.prediction.table`` writes docs/prediction.md: how far each way is from the others.

The overview, and the kernels by each method, are written into README.md as well, between its marks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from bench.pages import marked
from impls import framework, load, names
from impls.protocol import MethodNotInstalled
from studies.prediction import Kernels, Linearised, kernel_products, kernels
from tests.studies.prediction.comparisons import COMPARISONS, OPTAX, SGD, WITNESSES, Comparison
from tests.studies.prediction.problems import AGREEMENT, apart, network, problem
from tests.studies.prediction.test_kernels import STOCHASTIC, given
from tests.studies.prediction.test_wide import SEEDS, WIDTHS, in_jax, in_torch
from tests.studies.prediction.witnesses import by_neural_tangents, by_parameters, by_training_jax, by_training_torch

ROOT = Path(__file__).parents[3]
PAGE, README = ROOT / "docs" / "prediction.md", ROOT / "README.md"

Row = tuple[str, dict[str, str]]


def figure(error: float) -> str:
    return f"{error:.0e}".replace("e-0", "e-").replace("0e+00", "0")


def of_ways() -> list[Row]:
    """One row a way, in the order of the comparisons; `Comparison.allowed` is asked for here too."""
    rows: dict[str, dict[str, str]] = {}
    for each in COMPARISONS:
        error = each.error()
        assert error <= each.allowed, f"{each.way} is {error} from {each.witness}"
        rows.setdefault(each.way, {})[each.witness] = figure(error)
    return list(rows.items())


def overview() -> list[Row]:
    """The largest error of each kind of prediction, by its first words."""
    kinds = ("gradient flow", "t = ∞", "gradient descent", "largest learning rate", "cross-entropy", "ensemble",
             "posterior at ∞")
    return [(kind, {witness: _largest([each for each in COMPARISONS if each.way.startswith(kind)
                                       and each.witness == witness]) for witness in WITNESSES}) for kind in kinds]


def _largest(comparisons: list[Comparison]) -> str:
    return figure(max(each.error() for each in comparisons)) if comparisons else ""


@cache
def of_methods() -> list[Row]:
    """The linearised network by the kernels of each method: 150 steps with momentum, and flow."""
    return [(name, _errors(name)) for name in names() if _offers(name)] + [
        ("products with vectors, JAX", _errors("structured_jax", products=True)),
        ("products with vectors, PyTorch", _errors("structured_torch", products=True))]


COLUMNS = (OPTAX, SGD, "integration over the parameters", "neural_tangents.predict of the same kernel")


def _errors(name: str, *, products: bool = False) -> dict[str, str]:
    import jax

    x, x_test, arguments = given(name)
    with jax.enable_x64(True):
        if name in STOCHASTIC:
            arguments["proj_dim"] = 4096
        K = kernel_products(network, x, x_test, params=arguments["params"]) if products else kernels(
            network, x, x_test, **arguments)
        p = Linearised(K, problem().y, loss="mean", **problem().start)
        rate, t = 0.2 * p.max_learning_rate(0.9), np.array([0.3, 3.0])
        steps = {"learning_rate": rate, "momentum": 0.9}
        descended, flowed = p.gradient_descent(150, **steps), p.gradient_flow(t)
    found = {OPTAX: apart(descended, by_training_jax(problem(), 150, lambda f, y: ((f - y) ** 2).mean(), **steps)),
             SGD: apart(descended, by_training_torch(problem(), 150, lambda f, y: ((f - y) ** 2).mean(), **steps)),
             COLUMNS[2]: apart(flowed, by_parameters(problem(), t, lambda f, y: 2 * (f - y) / y.size))}
    if isinstance(K.train, np.ndarray):
        of_kernel = Kernels(K.train, K.test_train)
        found[COLUMNS[3]] = apart(flowed, by_neural_tangents(problem(), 2 * t, kernels=of_kernel))
    wrong = {witness: error for witness, error in found.items()
             if error > AGREEMENT and (name not in STOCHASTIC or witness == COLUMNS[3])}
    assert not wrong, f"{name}: {wrong}"
    return {witness: figure(error) for witness, error in found.items()}


def _offers(name: str) -> bool:
    try:
        return framework(name) != "numpy" and hasattr(load(name), "kernel")
    except MethodNotInstalled:
        return False


def of_width() -> list[Row]:
    own, limit = in_jax()
    return [("the network's own kernel, JAX", {"slope": f"{own:.2f}", "theory": "−1"}),
            ("the network's own kernel, PyTorch", {"slope": f"{in_torch():.2f}", "theory": "−1"}),
            ("the kernel of infinite width, JAX", {"slope": f"{limit:.2f}", "theory": "−½"})]


def markdown(first: str, columns: tuple[str, ...], rows: list[Row]) -> str:
    lines = [f"| {first} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells.get(each) or '–' for each in columns)} |"
                                for name, cells in rows)])


def page() -> str:
    return f"""# Predictions, each by every other way

Written by `python -m tests.studies.prediction.table` (`nox -s agreement`); not edited. Largest differences of train and
test outputs (of mean and covariance, for ensembles), relative to the targets' size, in float64, of a network of three
layers with six training examples and three outputs. Allowed: {AGREEMENT:.0e}; beside neural-tangents' own integrations,
which stop at 1.4e-8 a step, 1e-6. The tests assert all of the first table (`tests/studies/prediction/`).

## Ways of predicting

{markdown("prediction", WITNESSES, of_ways())}

## Methods that give the kernel

150 steps with momentum 0.9 of the linearised network, and gradient flow. Methods with random projections (here 4096)
give the kernel of another network, near the given one; what is made of it is the same by both.

{markdown("kernel by", COLUMNS, of_methods())}

## Real networks

The distance of a trained network of one hidden layer from the prediction, as a power of its width
({WIDTHS[0]} to {WIDTHS[-1]}, {SEEDS} draws):

{markdown("prediction by", ("slope", "theory"), of_width())}

The first two fall as the kernel's own change in training does (Huang & Yau 2020, 1909.08156; Dyer & Gur-Ari 2020,
1909.11304), the third as one draw's kernel approaches the mean (Lee et al. 2019, 1902.06720).
"""


def main(write: Callable[[Path, str], object] = Path.write_text) -> None:
    write(PAGE, page())
    readme = marked(README.read_text(), "predictions", markdown("prediction", WITNESSES, overview()))
    write(README, marked(readme, "predictions by method", markdown("kernel by", COLUMNS, of_methods())))


if __name__ == "__main__":
    main()
