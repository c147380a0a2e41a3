"""Layers, described as data, of which `reference.layered` composes networks.

A layer maps one example: features (D,), a sequence (T, D), or an image (channels, height, width). Its arrays are named
``{name}.{role}``; two layers of one name share the arrays that they both have: a tied parameter is one parameter.
Parameters are those that are trained, constants those that are not: running statistics, fixed frequencies, and whatever
`Layered.frozen` names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from reference.networks import Activation, Pair

Shape = tuple[int, ...]
"""Of one example, without the batch axis."""

CoordinateActivation = Literal["siren", "finer", "gaussian", "sinc", "wire"]
"""Of networks that map coordinates to values, with ω the `frequency` and s the `rate`:

siren sin(ω x) (Sitzmann et al. 2020), finer sin(ω (|x| + 1) x) (Liu et al. 2024), gaussian exp(−(s x)²) (Ramasinghe and
Lucey 2022), sinc sin(ω x)/(ω x), wire cos(ω x) exp(−(s x)²) (the real one of Saragadam et al. 2023).
"""


@dataclass(frozen=True)
class Drawn:
    """One array: its shape, and its draw mean + std·N(0, 1); a `positive` one is mean + std·|N(0, 1)|."""

    shape: Shape
    mean: float = 0.0
    std: float = 1.0
    positive: bool = False


Arrays = dict[str, Drawn]


class Layer:
    """What a layer is unless it says otherwise: it keeps the shape and holds nothing."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def params(self, shape: Shape) -> Arrays:
        return {}

    def constants(self, shape: Shape) -> Arrays:
        return {}


@dataclass(frozen=True)
class Dense(Layer):
    """W x + b along the last axis; `weight` (width, fan_in), `bias` (width,). Drawn with W ~ N(0, std²/fan_in)."""

    name: str
    width: int
    bias: bool = True
    std: float = 1.0

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.width)

    def params(self, shape: Shape) -> Arrays:
        weight = {f"{self.name}.weight": Drawn((self.width, shape[-1]), std=self.std / math.sqrt(shape[-1]))}
        return weight | ({f"{self.name}.bias": Drawn((self.width,))} if self.bias else {})


@dataclass(frozen=True)
class WeightNormDense(Layer):
    """W x + b with rows W_i = g_i v_i/‖v_i‖ (Salimans and Kingma 2016); `weight_g` (width, 1), `weight_v`, `bias`."""

    name: str
    width: int

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.width)

    def params(self, shape: Shape) -> Arrays:
        return {f"{self.name}.weight_g": Drawn((self.width, 1), mean=1.0, std=0.5),
                f"{self.name}.weight_v": Drawn((self.width, shape[-1])),
                f"{self.name}.bias": Drawn((self.width,))}


@dataclass(frozen=True)
class Convolution(Layer):
    """Cross-correlation with zeros padded on both sides; `weight` (channels, channels_in/groups, kh, kw), `bias`."""

    name: str
    channels: int
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        sizes = zip(shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return (self.channels, *((size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
                                 for size, kernel, stride, pad, dilation in sizes))

    def params(self, shape: Shape) -> Arrays:
        weight_shape = (self.channels, shape[0] // self.groups, *self.kernel)
        weight = {f"{self.name}.weight": Drawn(weight_shape, std=1 / math.sqrt(math.prod(weight_shape[1:])))}
        return weight | ({f"{self.name}.bias": Drawn((self.channels,))} if self.bias else {})


@dataclass(frozen=True)
class BatchNorm(Layer):
    """In evaluation mode: γ (x − running_mean)/√(running_var + eps) + β for each channel of an image.

    `weight` γ and `bias` β are trained; the running statistics are constants.
    """

    name: str
    eps: float = 1e-5

    def params(self, shape: Shape) -> Arrays:
        return _gain_and_bias(self.name, shape[0])

    def constants(self, shape: Shape) -> Arrays:
        return {f"{self.name}.running_mean": Drawn((shape[0],)),
                f"{self.name}.running_var": Drawn((shape[0],), mean=0.5, positive=True)}


@dataclass(frozen=True)
class LayerNorm(Layer):
    """γ (x − mean)/√(var + eps) + β over the last axis, var without Bessel's correction; `weight` γ, `bias` β."""

    name: str
    eps: float = 1e-5

    def params(self, shape: Shape) -> Arrays:
        return _gain_and_bias(self.name, shape[-1])


@dataclass(frozen=True)
class RMSNorm(Layer):
    """γ x/√(mean x² + eps) over the last axis; `weight` γ."""

    name: str
    eps: float = 1e-5

    def params(self, shape: Shape) -> Arrays:
        return {f"{self.name}.weight": Drawn((shape[-1],), mean=1.0, std=0.25)}


def _gain_and_bias(name: str, width: int) -> Arrays:
    return {f"{name}.weight": Drawn((width,), mean=1.0, std=0.25), f"{name}.bias": Drawn((width,))}


@dataclass(frozen=True)
class Activate(Layer):
    """An elementwise function; `frequency` and `rate` are those of `CoordinateActivation`."""

    function: Activation | CoordinateActivation
    frequency: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        known = (*get_args(Activation), *get_args(CoordinateActivation))
        if self.function not in known:
            raise ValueError(f"unknown activation {self.function!r}; choose one of {', '.join(known)}")


@dataclass(frozen=True)
class FourierFeatures(Layer):
    """(cos B x, sin B x) (Tancik et al. 2020) with fixed angular frequencies B, the constant `frequencies` (n, D)."""

    name: str
    n: int
    std: float = 1.0

    def output_shape(self, shape: Shape) -> Shape:
        return (2 * self.n,)

    def constants(self, shape: Shape) -> Arrays:
        return {f"{self.name}.frequencies": Drawn((self.n, *shape), std=self.std)}


@dataclass(frozen=True)
class GlobalPool(Layer):
    """The mean over height and width."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape[:1]


@dataclass(frozen=True)
class Embedding(Layer):
    """Tokens (T,), integers from 0 to n_tokens − 1, to rows of `weight` (n_tokens, width). The first layer."""

    name: str
    n_tokens: int
    width: int

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape, self.width)

    def params(self, shape: Shape) -> Arrays:
        return {f"{self.name}.weight": Drawn((self.n_tokens, self.width))}


@dataclass(frozen=True)
class Positions(Layer):
    """Adds a learned vector at each position: `weight`, of the shape of the example."""

    name: str

    def params(self, shape: Shape) -> Arrays:
        return {f"{self.name}.weight": Drawn(shape)}


@dataclass(frozen=True)
class Attention(Layer):
    """Multi-head self-attention (Vaswani et al. 2017) over a sequence (T, D), softmax(Q Kᵀ/√(D/n_heads)) V.

    `in_proj_weight` (3D, D) and `in_proj_bias` hold queries, keys and values, in this order, each head after head;
    `out_proj.weight` (D, D) and `out_proj.bias` mix the heads. `causal`: a position attends to itself and those before.
    """

    name: str
    n_heads: int
    causal: bool = True

    def params(self, shape: Shape) -> Arrays:
        width = shape[-1]
        std = 1 / math.sqrt(width)
        return {f"{self.name}.in_proj_weight": Drawn((3 * width, width), std=std),
                f"{self.name}.in_proj_bias": Drawn((3 * width,)),
                f"{self.name}.out_proj.weight": Drawn((width, width), std=std),
                f"{self.name}.out_proj.bias": Drawn((width,))}


@dataclass(frozen=True)
class Recurrent(Layer):
    """The last state of h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh), h_0 = 0 (Elman 1990), over (T, D)."""

    name: str
    width: int

    def output_shape(self, shape: Shape) -> Shape:
        return (self.width,)

    def params(self, shape: Shape) -> Arrays:
        fans = {"ih": shape[-1], "hh": self.width}
        weights = {f"{self.name}.weight_{role}": Drawn((self.width, fan_in), std=1 / math.sqrt(fan_in))
                   for role, fan_in in fans.items()}
        return weights | {f"{self.name}.bias_{role}": Drawn((self.width,), std=0.5) for role in fans}


@dataclass(frozen=True)
class Unused(Layer):
    """A parameter `weight` that the output does not depend on."""

    name: str
    shape: Shape

    def params(self, shape: Shape) -> Arrays:
        return {f"{self.name}.weight": Drawn(self.shape)}


@dataclass(frozen=True)
class Residual(Layer):
    """body(x) + shortcut(x), the identity where there is no shortcut."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def output_shape(self, shape: Shape) -> Shape:
        return after(self.body, shape)

    def params(self, shape: Shape) -> Arrays:
        return merged(layer.params(inside) for layer, inside in self._parts(shape))

    def constants(self, shape: Shape) -> Arrays:
        return merged(layer.constants(inside) for layer, inside in self._parts(shape))

    def _parts(self, shape: Shape) -> list[tuple[Layer, Shape]]:
        return [*met(self.body, shape), *met(self.shortcut, shape)]


def met(layers: tuple[Layer, ...], shape: Shape) -> Iterator[tuple[Layer, Shape]]:
    """Each layer with the shape that it is given."""
    for layer in layers:
        yield layer, shape
        shape = layer.output_shape(shape)


def after(layers: tuple[Layer, ...], shape: Shape) -> Shape:
    """The shape after the last of them."""
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def merged(parts: Iterable[Arrays]) -> Arrays:
    """All arrays, each name once. Raises `ValueError` where layers of one name disagree about a shape."""
    arrays: Arrays = {}
    for name, drawn in ((name, drawn) for part in parts for name, drawn in part.items()):
        first = arrays.setdefault(name, drawn)
        if first.shape != drawn.shape:
            raise ValueError(f"{name} is used with the shapes {first.shape} and {drawn.shape}; "
                             "tied arrays are of one shape")
    return arrays
