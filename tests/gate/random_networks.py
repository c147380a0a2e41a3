"""Networks that nobody wrote down: hypothesis strategies for `MLP`, `ConvNet` and `Layered` of all kinds of layers.

hypothesis draws what a network is (sizes, layers, activations, biases, parameterization, what is tied and frozen, N1
and N2) and can shrink it; the numbers in its arrays come from a drawn seed. The networks are small, as compiling takes
nearly all of the time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from impls.protocol import Kind
from reference import MLP, Case, Conv, ConvNet, Described, KinkError, Layered, random_case, tolerance
from reference.arithmetic import FLOAT64
from reference.jacobian import linearise
from reference.layers import (
    Activate,
    Attention,
    BatchNorm,
    Convolution,
    CoordinateActivation,
    Dense,
    Embedding,
    FourierFeatures,
    GlobalPool,
    Layer,
    LayerNorm,
    Positions,
    Recurrent,
    Residual,
    RMSNorm,
    Shape,
    Unused,
    WeightNormDense,
    after,
)
from reference.networks import Activation, Pair

Family = Literal["dense", "conv", "layered"]
FAMILIES: tuple[Family, ...] = get_args(Family)
Draw = Callable[[st.SearchStrategy[Any]], Any]

_ACTIVATIONS = get_args(Activation)
_WITH_A_LIMIT = tuple(name for name in _ACTIVATIONS if name != "tanh")


@dataclass(frozen=True)
class RandomNetwork:
    """A network with N1 + N2 examples; its repr is code that makes it again."""

    network: Described
    n1: int
    n2: int
    seed: int

    def case(self) -> Case:
        """All the examples in x1, and x2 = x1."""
        return random_case(f"random network {self.seed}", self.network, self.n1 + self.n2, None)


@st.composite
def random_networks(draw: Draw, family: Family, kind: Kind) -> RandomNetwork:
    """Networks of that family, for a method of that kind. Those that are not `smooth` are left to the caller."""
    state = random.getstate()  # the runtime check of types draws from it, which hypothesis refuses in a strategy
    networks = {"dense": dense_networks(kind), "conv": conv_networks(kind), "layered": layered_networks()}[family]
    drawn = RandomNetwork(draw(networks), draw(st.integers(1, 3)), draw(st.integers(1, 2)),
                          draw(st.integers(0, 2**32 - 1)))
    random.setstate(state)
    return drawn


SEEDED = settings(
    database=None, deadline=None, print_blob=False, report_multiple_bugs=False, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large,
                           HealthCheck.large_base_example])
"""Runs that depend on nothing but `hypothesis.seed`, however long they take."""


def smooth(case: Case) -> bool:
    """Whether every input of a ReLU is further from 0 than float32's tolerance.

    At 0 methods may differ, and rounding would decide.
    """
    def guarded(x: np.ndarray) -> np.ndarray:
        if x.size and np.abs(x).min() <= tolerance("float32"):
            raise KinkError("an input of a ReLU is at 0")
        return np.maximum(x, 0.0)

    _, slope = FLOAT64.activations["relu"]
    arithmetic = replace(FLOAT64, activations={**FLOAT64.activations, "relu": (guarded, slope)})
    assert isinstance(case.network, Described)
    try:
        for x in case.x1 if case.x2 is None else (*case.x1, *case.x2):
            linearise(case.network, arithmetic, {**case.params, **case.constants}, x)
    except KinkError:
        return False
    return True


@st.composite
def dense_networks(draw: Draw, kind: Kind) -> MLP:
    hidden = draw(st.lists(st.integers(1, 7), min_size=1 if kind == "limit" else 0, max_size=3))
    return MLP((draw(st.integers(2, 6)), *hidden, draw(st.integers(1, 4))), **_common(draw, kind))


@st.composite
def conv_networks(draw: Draw, kind: Kind) -> ConvNet:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(2, 6)))
    convs: list[Conv] = []
    height, width = shape[1:]
    for _ in range(draw(st.integers(1, 2))):
        convs.append(_conv(draw, height, width, kind))
        height, width = convs[-1].output_shape(height, width)
    dense = (*draw(st.lists(st.integers(2, 5), max_size=1)), draw(st.integers(1, 3)))
    return ConvNet(shape, tuple(convs), dense, draw(st.sampled_from(("flatten", "global"))), **_common(draw, kind))


def _common(draw: Draw, kind: Kind) -> dict[str, Any]:
    limit = kind == "limit"
    return {"activation": draw(st.sampled_from(_WITH_A_LIMIT if limit else _ACTIVATIONS)),
            "bias": draw(st.booleans()),
            "parameterization": "ntk" if limit else draw(st.sampled_from(("standard", "ntk"))),
            "W_std": draw(st.sampled_from((1.0, 0.75, 1.5))),
            "b_std": draw(st.sampled_from((1.0, 0.25)))}


def _conv(draw: Draw, height: int, width: int, kind: Kind) -> Conv:
    kernel = _pair(draw, 1, min(3, height), min(3, width))
    if kind == "limit":  # stax has a kernel for "VALID" and "SAME" padding alone
        same = draw(st.booleans()) and all(size % 2 for size in kernel)
        stride, padding = (1, 1), (kernel[0] // 2, kernel[1] // 2) if same else (0, 0)
    else:
        stride, padding = _pair(draw, 1, 2, 2), _pair(draw, 0, kernel[0] - 1, kernel[1] - 1)
    conv = Conv(draw(st.integers(1, 4)), kernel, stride, padding)
    pooled = draw(st.booleans())
    height, width = conv.convolved_shape(height, width)
    return replace(conv, pool=_pair(draw, 1, min(2, height), min(2, width))) if pooled else conv


def _pair(draw: Draw, low: int, high_height: int, high_width: int) -> Pair:
    return draw(st.tuples(st.integers(low, high_height), st.integers(low, high_width)))


@st.composite
def layered_networks(draw: Draw) -> Layered:
    """Of features, of coordinates, of a sequence, of tokens or of an image, up to a head of their kind."""
    builder = Builder(draw)
    shape, start = builder.start()
    layers = [*start]
    for _ in range(draw(st.integers(1, 3))):
        layers.append(builder.layer(after(tuple(layers), shape)))
    layers += builder.head(after(tuple(layers), shape))
    network = Layered(shape, tuple(layers))
    kept = getattr(layers[-1], "name", "")  # the head is trained, so that the output depends on what is
    names = [name for name in network.param_shapes() if name.rpartition(".")[0] != kept]
    frozen = draw(st.sets(st.sampled_from(names), max_size=2)) if names and draw(st.booleans()) else ()
    return Layered(shape, tuple(layers), tuple(sorted(frozen)))


@dataclass
class Builder:
    """Draws layers that fit a shape; remembers those of them that may be used again."""

    draw: Draw
    used: list[tuple[Layer, Shape]] = field(default_factory=list)
    """With the shape that they were given."""
    n_names: int = 0
    tokens: Embedding | None = None

    def start(self) -> tuple[Shape, list[Layer]]:
        kind = self.draw(st.sampled_from(("features", "coordinates", "sequence", "tokens", "image")))
        if kind == "features":
            return (self.number(3, 5),), []
        if kind == "coordinates":
            return (2,), [FourierFeatures(self.name(), self.number(2, 3), std=2.0)]
        if kind == "sequence":
            return (self.number(2, 3), 4), []
        if kind == "image":
            return (2, self.number(3, 4), self.number(3, 4)), []
        self.tokens = Embedding(self.name(), self.number(3, 4), 4)
        return (self.number(2, 3),), [self.tokens]

    def layer(self, shape: Shape) -> Layer:
        """A layer that keeps the number of axes."""
        kinds = {1: (self.dense, self.again, self.weight_norm, self.layer_norm, self.rms_norm, self.residual),
                 2: (self.dense, self.again, self.layer_norm, self.rms_norm, self.attention, self.positions,
                     self.residual),
                 3: (self.convolution, self.again, self.batch_norm, self.residual)}[len(shape)]
        layer = self.draw(st.sampled_from((self.activate, *kinds, self.unused)))(shape)
        self.used.append((layer, shape))
        return layer

    def head(self, shape: Shape) -> list[Layer]:
        if len(shape) == 1:
            return [self.dense_of(self.number(1, 3))]
        if len(shape) == 3:
            pooled = [GlobalPool(), self.dense_of(self.number(1, 3))]
            nearly_all = (max(1, shape[1] - 1), max(1, shape[2] - 1))
            image = [Convolution(self.name(), self.number(1, 2), nearly_all)]
            return self.draw(st.sampled_from((pooled, image)))
        heads = [[Recurrent(self.name(), self.number(2, 3)), self.dense_of(self.number(1, 3))],
                 [self.dense_of(self.number(1, 2))]]
        if self.tokens is not None and shape[-1] == self.tokens.width:
            heads.append([Dense(self.tokens.name, self.tokens.n_tokens, bias=False)])
        return self.draw(st.sampled_from(heads))

    def name(self) -> str:
        """New, and not in alphabetical order of use, in which some frameworks keep parameters."""
        self.n_names += 1
        return f"{self.draw(st.sampled_from('zam'))}{self.n_names}"

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def activate(self, shape: Shape) -> Layer:
        function = self.draw(st.sampled_from((*_ACTIVATIONS, *get_args(CoordinateActivation))))
        return Activate(function, self.draw(st.sampled_from((1.0, 3.0))), self.draw(st.sampled_from((1.0, 0.5))))

    def dense_of(self, width: int) -> Dense:
        return Dense(self.name(), width, self.draw(st.booleans()))

    def dense(self, shape: Shape) -> Layer:
        *rest, width = shape
        square = bool(rest) or self.draw(st.booleans())
        return self.dense_of(width if square else self.number(3, 5))

    def again(self, shape: Shape) -> Layer:
        """A layer that was there before, where one fits: its parameters are tied."""
        fitting = [layer for layer, its in self.used if its == shape == layer.output_shape(shape) and layer.params(its)]
        other = self.dense if len(shape) < 3 else self.convolution
        return self.draw(st.sampled_from(fitting)) if fitting else other(shape)

    def weight_norm(self, shape: Shape) -> Layer:
        return WeightNormDense(self.name(), self.number(3, 5))

    def layer_norm(self, shape: Shape) -> Layer:
        return LayerNorm(self.name())

    def rms_norm(self, shape: Shape) -> Layer:
        return RMSNorm(self.name())

    def batch_norm(self, shape: Shape) -> Layer:
        return BatchNorm(self.name())

    def positions(self, shape: Shape) -> Layer:
        return Positions(self.name())

    def attention(self, shape: Shape) -> Layer:
        return Attention(self.name(), self.draw(st.sampled_from((1, 2))), causal=self.draw(st.booleans()))

    def unused(self, shape: Shape) -> Layer:
        return Unused(self.name(), (2, 3))

    def convolution(self, shape: Shape) -> Layer:
        channels, height, width = shape
        kernel = _pair(self.draw, 1, min(2, height), min(2, width))
        dilation = _pair(self.draw, 1, 2 if height > kernel[0] else 1, 2 if width > kernel[1] else 1)
        padding = _pair(self.draw, 0, kernel[0] - 1, kernel[1] - 1)
        groups = self.draw(st.sampled_from([n for n in (1, 2) if channels % n == 0]))
        return Convolution(self.name(), groups * self.number(1, 2), kernel, _pair(self.draw, 1, 2, 2),
                           padding, dilation, groups, self.draw(st.booleans()))

    def residual(self, shape: Shape) -> Layer:
        """x + φ(W x + b), or for an image a 1×1 convolution on either way, both strided."""
        activation = Activate(self.draw(st.sampled_from(_ACTIVATIONS)))
        *rest, width = shape
        if len(rest) < 2:
            return Residual((self.dense_of(width), activation))
        stride = _pair(self.draw, 1, 2, 2)
        one = partial(Convolution, channels=self.number(1, 3), kernel=(1, 1), stride=stride)
        return Residual((one(self.name()), activation), (one(self.name(), bias=False),))
