"""Coordinate networks against NumPy: every layer type, encoding and initialisation; kernels by differences of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")
pytest.importorskip("scipy", reason="the extra studies is not installed")

import jax

from reference import InputError
from reference.tolerances import DIFFERENCES_TOLERANCE
from studies.networks import coordinates
from studies.networks.activations import LAYERS, layer
from studies.networks.coordinates import Architecture, Numbers, grid, initial
from studies.networks.encodings import frequencies
from studies.networks.initialisations import draw
from studies.networks.names import EncodingName, LayerName
from studies.sweep.compute import compute
from studies.sweep.points import Point
from tests.studies.agreement import agree

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

VALUES = {"w0": 2.0, "s0": 0.7, "a": 1.3, "b": 1.7, "inverse_scale": 0.9, "wf": 1.5}
H = 1e-5


def bent(x: Any) -> Any:
    return x + abs(x) * x


# Written anew, with NumPy's functions and other arrangements.
FORMULAS: dict[str, Callable[..., Any]] = {
    "siren": lambda x, w0: np.imag(np.exp(1j * w0 * x)),
    "finer": lambda x, w0: np.imag(np.exp(1j * w0 * bent(x))),
    "finer_gaussian": lambda x, inverse_scale, wf: np.exp(-inverse_scale**2 * np.sin(wf * bent(x)) ** 2),
    "finer_wire_real": lambda x, y, w0, s0: np.cos(w0 * bent(x)) / np.exp(s0**2 * bent(y) ** 2),
    "finer_wire_complex": lambda x, w0, s0: np.exp(1j * w0 * bent(x) - s0**2 * abs(bent(x)) ** 2),
    "gaussian": lambda x, inverse_scale: 1 / np.exp(inverse_scale**2 * x**2),
    "laplacian": lambda x, a: np.exp(-np.sqrt(x**2) / a),
    "quadratic": lambda x, a: a**-2 / (a**-2 + x**2),
    "multi_quadratic": lambda x, a: (1 + a**2 * x**2) ** -0.5,
    "super_gaussian": lambda x, a, b: np.exp(-0.5 * (x / a) ** 2) ** b,
    "exp_sin": lambda x, a: np.exp(np.imag(np.exp(1j * a * x))),
    "hosc": lambda x, w0: 1 - 2 / (1 + np.exp(2 * w0 * np.sin(x))),
    "ada_hosc": lambda x, w0: np.sin(x) / np.cosh(w0 * np.sin(x)) ** 2,
    "sinc": lambda x, w0: np.sin(np.pi * w0 * x) / (np.pi * w0 * x),
    "sinc_plain": lambda x, w0: np.sin(w0 * x) / (w0 * x),
    "wire_real": lambda x, y, w0, s0: np.cos(w0 * x) / np.exp((s0 * y) ** 2),
    "wire_complex": lambda x, w0, s0: np.exp(1j * w0 * x) * np.exp(-abs(s0 * x) ** 2),
    "wire_complex_2d": lambda x, y, w0, s0: np.exp(1j * w0 * x - s0**2 * (abs(x) ** 2 + abs(y) ** 2) / 2),
}


def numpy_outputs(name: str, params: Any, x: np.ndarray) -> np.ndarray:
    """(N, O) of an untrained or trained network without encoding."""
    h = x
    for each in params["layers"]:
        maps = [h @ w.T + b for w, b in zip(each["weights"], each["biases"], strict=True)]
        h = FORMULAS[name](*maps, *(each["activation"][p] for p in layer(name).parameters))
    return np.real(h @ params["output"]["weight"].T + params["output"]["bias"])


def numpy_kernel(name: str, params: Any, x: np.ndarray) -> np.ndarray:
    """By central differences in every real number, of complex parameters in both."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.array, params))
    columns = []
    for i, leaf in enumerate(leaves):
        for place in np.ndindex(leaf.shape):
            for unit in (1, 1j) if np.iscomplexobj(leaf) else (1,):
                ends = []
                for step in (H, -H):
                    moved = leaf.copy()
                    moved[place] += step * unit
                    ends.append(numpy_outputs(name, structure.unflatten([*leaves[:i], moved, *leaves[i + 1:]]), x))
                columns.append((ends[0] - ends[1]) / (2 * H))
    jac = np.stack(columns, -1)
    return np.einsum("nap,mbp->nmab", jac, jac)


def test_every_layer_type_has_a_formula_here() -> None:
    assert set(FORMULAS) == set(LAYERS) == set(get_args(LayerName))


@pytest.mark.parametrize("name", FORMULAS)
def test_a_network_and_its_kernel_are_those_of_numpy(name: LayerName) -> None:
    """The activation's parameters trained, and the complex ones pairs of real ones."""
    point = Point(Architecture(name, width=3, depth=2, dimension=2, outputs=2, trained=True),
                  Numbers(tuple((p, VALUES[p]) for p in layer(name).parameters), seed=1), 9, "float64")
    with jax.enable_x64(True):
        params, frozen = jax.tree.map(np.asarray, initial(point.architecture, point.numbers))
        found = np.asarray(coordinates.outputs(point.architecture, params, frozen, jax.numpy.asarray(grid(2, 9))))
    agree(found, numpy_outputs(name, params, grid(2, 9)))
    kernel, due = compute(point).kernel, numpy_kernel(name, params, grid(2, 9))
    assert np.abs(kernel - due).max() <= DIFFERENCES_TOLERANCE * np.abs(due).max()
    assert np.iscomplexobj(params["output"]["weight"]) == LAYERS[name].complex
    assert compute(point).wrong() == ""


def test_parameters_that_are_not_trained_have_no_part_in_the_kernel() -> None:
    numbers = Numbers((("w0", 2.0),))
    trained, not_trained = (compute(Point(Architecture("siren", 4, 2, 1, trained=trained), numbers, 8, "float64"))
                            for trained in (True, False))
    with jax.enable_x64(True):
        params, _ = jax.tree.map(np.asarray, initial(Architecture("siren", 4, 2, 1, trained=True), numbers))
    x, columns = grid(1, 8), []
    for place in range(2):
        ends = []
        for step in (H, -H):
            moved = jax.tree.map(np.array, params)
            moved["layers"][place]["activation"]["w0"] += step
            ends.append(numpy_outputs("siren", moved, x))
        columns.append((ends[0] - ends[1])[:, 0] / (2 * H))
    due = np.array(columns).T @ np.array(columns)
    assert np.abs((trained.kernel - not_trained.kernel)[..., 0, 0] - due).max() <= DIFFERENCES_TOLERANCE * due.max()


def waves(x: np.ndarray, of: np.ndarray) -> list[float]:
    return [f(w * xi) for f in (np.sin, np.cos) for w in of for xi in x]


@pytest.mark.parametrize(("name", "due"), [
    ("none", lambda x: list(x)),
    ("positional", lambda x: [*x, *waves(x, np.array([np.pi, 3 * np.pi]))]),
    ("harmonics", lambda x: waves(x, np.array([np.pi, 2 * np.pi]))),
    ("trident", lambda x: [np.exp(-(wave**2)) for wave in waves(x, np.array([2 * np.pi, 6 * np.pi]))]),
    ("lattice", lambda x: [f(2 * np.pi * (n * x[0] + m * x[1])) for f in (np.cos, np.sin)
                           for n, m in [(0, 0), (0, 1), (0, 2), *((n, m) for n in (1, 2) for m in range(-2, 3))]]),
])
def test_encodings_of_a_point(name: EncodingName, due: Callable[[np.ndarray], list[float]]) -> None:
    x = np.array([0.3, 0.8])
    of = frequencies(name, 2, 3.0, 2, np.random.default_rng(0))
    with jax.enable_x64(True):
        agree(coordinates.encode(name, jax.numpy.asarray(of), jax.numpy.asarray(x)), due(x))


def test_fourier_features_have_the_gaussian_kernel_in_the_mean() -> None:
    """E cos 2π b(x − y) = exp(−2π² σ² |x − y|²), b ~ N(0, σ²) (Rahimi, Recht 2007)."""
    of = frequencies("fourier", 40_000, 0.5, 2, np.random.default_rng(0))
    x, y = np.array([0.3, 0.8]), np.array([0.5, 0.6])
    with jax.enable_x64(True):
        first, second = (np.asarray(coordinates.encode("fourier", jax.numpy.asarray(of), jax.numpy.asarray(point)))
                         for point in (x, y))
    due, standard_error = np.exp(-2 * np.pi**2 * 0.25 * np.sum((x - y) ** 2)), 1 / np.sqrt(2 * 40_000)
    assert abs(first @ second / 40_000 - due) < 5 * standard_error


def test_initialisations_have_their_limits() -> None:
    rng = np.random.default_rng(0)
    for kind, first, weight_limit, bias_limit in (
            ("siren", True, 1 / 8, None), ("siren", False, np.sqrt(6 / 8) / 30, None), ("finer", True, 1 / 8, 5.0),
            ("finer", False, np.sqrt(6 / 8) / 30, 5.0), ("standard", True, np.sqrt(6 / 408), 8**-0.5)):
        weight, bias = draw(cast(Any, kind), 8, 400, first=first, w0=30.0, bias_k=5.0, rng=rng)
        largest, of_bias = np.abs(weight).max(), np.abs(bias)
        assert 0.99 * weight_limit < largest <= weight_limit
        limit = np.pi / np.linalg.norm(weight, axis=1) if bias_limit is None else bias_limit
        assert 0.97 < (of_bias / limit).max() <= 1


def test_both_dtypes_see_the_same_network() -> None:
    of, numbers = Architecture("wire_complex", 3, 2, 1), Numbers((("w0", 2.0), ("s0", 1.0)), seed=3, param_scale=2.0)
    single = initial(of, numbers, "float32")
    with jax.enable_x64(True):
        double = initial(of, numbers, "float64")
    for short, long in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert np.array_equal(short, np.asarray(long).astype(short.dtype))
    one = jax.tree.leaves(initial(of, Numbers(numbers.activation, seed=3), "float32")[0]["layers"])
    assert all(np.array_equal(2 * a, b) for a, b in zip(one, jax.tree.leaves(single[0]["layers"]), strict=True))


def test_grids_hold_both_ends_of_each_axis() -> None:
    assert grid(1, 100).shape == (100, 1)
    assert grid(2, 100).shape == (100, 2)
    assert grid(3, 100).shape == (64, 3)
    assert grid(2, 9)[:4].tolist() == [[0, 0], [0, 0.5], [0, 1], [0.5, 0]]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: layer("sirene"), "'sirene'; did you mean siren"),
    (lambda: Architecture("siren", 0, 2, 1), "width must be at least 1, got 0"),
    (lambda: initial(Architecture("super_gaussian", 2, 1, 1), Numbers((("a", 1.0),))), "needs a value of b"),
    (lambda: grid(3, 7), "3 dimensions and 7 points"),
])
def test_bad_input_names_the_value_and_the_remedy(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
