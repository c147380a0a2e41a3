"""A coordinate network: an encoding, layers of one type, a linear output; and the grid that it is looked at on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reference import InputError
from reference.case import DType
from studies.networks.activations import layer
from studies.networks.encodings import encode, frequencies
from studies.networks.initialisations import draw, draw_output
from studies.networks.names import EncodingName, Initialisation, LayerName

Params = dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """What is compiled once: the shapes and functions, not the numbers.

    `depth` counts the layers with an activation; the linear output comes after them. `trained`: the parameters of the
    activation are trained, one of each in every layer.
    """

    layer: LayerName
    width: int
    depth: int
    dimension: int
    outputs: int = 1
    encoding: EncodingName = "none"
    frequencies: int = 8
    trained: bool = False

    def __post_init__(self) -> None:
        layer(self.layer)
        for name in ("width", "depth", "dimension", "outputs", "frequencies"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Numbers:
    """What may differ between networks of one architecture.

    `activation` has a value for each of the layer type's parameters; `param_scale` multiplies weights and biases of all
    layers but the output, `encoding_scale` is the `scale` of `encodings.frequencies`. All is drawn from the seed.
    """

    activation: tuple[tuple[str, float], ...]
    initialisation: Initialisation = "standard"
    bias_k: float = 1.0
    param_scale: float = 1.0
    encoding_scale: float = 1.0
    seed: int = 0


def initial(of: Architecture, numbers: Numbers, dtype: DType = "float64") -> tuple[Params, Params]:
    """Parameters that are trained, and numbers that are not: {"layers": […], "output": …}, {"frequencies": …, …}.

    Raises `InputError` where a parameter of the activation has no value. float64 needs JAX's 64-bit numbers on.
    """
    kind, rng = layer(of.layer), np.random.default_rng(numbers.seed)
    given = dict(numbers.activation)
    if missing := [name for name in kind.parameters if name not in given]:
        raise InputError(f"the layer type {of.layer} needs a value of {', '.join(missing)}")
    values = {name: np.float64(given[name]) for name in kind.parameters}
    waves = frequencies(of.encoding, of.frequencies, numbers.encoding_scale, of.dimension, rng)
    n_in = jax.eval_shape(lambda x: encode(of.encoding, jnp.asarray(waves), x), jnp.zeros(of.dimension)).size
    layers = []
    for place in range(of.depth):
        layers.append(_maps(of, numbers, n_in if place == 0 else of.width, place == 0, rng))
        if of.trained:
            layers[-1]["activation"] = dict(values)
    weight, bias = draw_output(of.width, of.outputs, rng)
    if kind.complex:
        weight, bias = _complex((weight, bias), draw_output(of.width, of.outputs, rng))
    params = {"layers": layers, "output": {"weight": weight, "bias": bias}}
    frozen = {"frequencies": waves, **({} if of.trained else {"activation": values})}
    return _cast(params, dtype), _cast(frozen, dtype)


def _maps(of: Architecture, numbers: Numbers, n_in: int, first: bool, rng: np.random.Generator) -> Params:
    """The linear maps of a layer; w0 of its initialisation is the activation's, 1 where that has none."""
    kind, w0 = layer(of.layer), dict(numbers.activation).get("w0", 1.0)

    def real() -> tuple[np.ndarray, np.ndarray]:
        return draw(numbers.initialisation, n_in, of.width, first=first, w0=w0, bias_k=numbers.bias_k, rng=rng)

    maps = [_complex(real(), real()) if kind.complex and not first else real() for _ in range(kind.maps)]
    return {"weights": [numbers.param_scale * weight for weight, _ in maps],
            "biases": [numbers.param_scale * bias for _, bias in maps]}


def output(of: Architecture, params: Params, frozen: Params, x: jax.Array) -> jax.Array:
    """What the network gives at one point x (d,): (outputs,), real."""
    kind = layer(of.layer)
    h = encode(of.encoding, frozen["frequencies"], x)
    for each in params["layers"]:
        pre = [weight @ h + bias for weight, bias in zip(each["weights"], each["biases"], strict=True)]
        h = kind.function(*pre, **(each["activation"] if of.trained else frozen["activation"]))
    return jnp.real(params["output"]["weight"] @ h + params["output"]["bias"])


def outputs(of: Architecture, params: Params, frozen: Params, x: jax.Array) -> jax.Array:
    """Of a batch (N, d): (N, outputs)."""
    return jax.vmap(lambda point: output(of, params, frozen, point))(x)


def grid(dimension: int, points: int) -> np.ndarray:
    """int(points^(1/d)) points an axis from 0 to 1, both included: (n^d, d), the last coordinate fastest."""
    if dimension < 1 or points < 2**dimension:
        raise InputError(f"a grid of {dimension} dimensions and {points} points: give dimension ≥ 1 and points ≥ 2^d, "
                         "two on each axis")
    n = int(round(points ** (1 / dimension), 9))
    axes = np.meshgrid(*[np.linspace(0.0, 1.0, n)] * dimension, indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=-1)


def _complex(re: tuple[np.ndarray, np.ndarray], im: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return re[0] + 1j * im[0], re[1] + 1j * im[1]


def _cast(tree: Params, dtype: DType) -> Params:
    """In the dtype, complex arrays in the complex one of its size."""
    wide = np.result_type(dtype, np.complex64)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, wide if np.iscomplexobj(leaf) else dtype), tree)
