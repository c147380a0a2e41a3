"""The shared networks, described as data: no framework, no arrays.

Every framework builds these from its own layers, and the reference has a forward pass of its own (`reference.forward`).

Parameterization, for a dense layer with weight W of shape (fan_out, fan_in) and bias b:

- ``"standard"``: y = W x + b, drawn with W ~ N(0, W_std²/fan_in), b ~ N(0, b_std²);
- ``"ntk"``: y = (W_std/√fan_in) W x + b_std b, drawn with W, b ~ N(0, 1)
  (Jacot et al. 2018, section 3, with W_std and b_std).

A convolution has fan_in = channels_in · kernel height · kernel width. The activation follows every layer
but the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, get_args, runtime_checkable

Activation = Literal["relu", "tanh", "erf", "gelu", "sin"]
"""``"gelu"`` is the exact one, x Φ(x), not its tanh approximation."""

Parameterization = Literal["standard", "ntk"]
Pair = tuple[int, int]
"""(height, width)"""


@runtime_checkable
class Network(Protocol):
    """What every description offers; the dataclasses below, and `reference.layered.Layered`, satisfy it."""

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one example, without the batch axis; None where the network does not say."""
        ...

    @property
    def n_outputs(self) -> int | None:
        """O, the number of outputs after flattening; None where the network does not say."""
        ...

    @property
    def n_tokens(self) -> int | None:
        """Inputs are integers from 0 to n_tokens − 1; None where they are real numbers, or the network does not say."""
        ...

    def param_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names of the trained parameters, in order of use, with their shapes."""
        ...

    def constant_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Likewise for arrays that are not trained: running statistics, frozen parameters."""
        ...


def _check_common(activation: str, parameterization: str, W_std: float, b_std: float) -> None:
    if activation not in get_args(Activation):
        raise ValueError(f"unknown activation {activation!r}; choose one of {', '.join(get_args(Activation))}")
    if parameterization not in get_args(Parameterization):
        raise ValueError(f"unknown parameterization {parameterization!r}; choose 'standard' or 'ntk'")
    if not (W_std > 0 and b_std >= 0):
        raise ValueError(f"W_std must be positive and b_std non-negative, got W_std={W_std}, b_std={b_std}")


@dataclass(frozen=True)
class MLP:
    """A fully connected network.

    `widths` runs from the input to the output: (8, 16, 16, 3) has two hidden layers. Parameters are named
    ``dense{i}.weight`` with shape (widths[i+1], widths[i]) and ``dense{i}.bias`` with shape (widths[i+1],).
    """

    widths: tuple[int, ...]
    activation: Activation = "relu"
    bias: bool = True
    parameterization: Parameterization = "standard"
    W_std: float = 1.0
    b_std: float = 1.0

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"an MLP needs at least (inputs, outputs), all positive, got widths={self.widths}")
        _check_common(self.activation, self.parameterization, self.W_std, self.b_std)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.widths[0],)

    @property
    def n_outputs(self) -> int:
        return self.widths[-1]

    @property
    def n_tokens(self) -> None:
        return None

    @property
    def n_layers(self) -> int:
        return len(self.widths) - 1

    def param_shapes(self) -> dict[str, tuple[int, ...]]:
        return _dense_shapes(self.widths, self.bias)

    def constant_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}


@dataclass(frozen=True)
class Conv:
    """One convolution (cross-correlation, zeros padded on both sides), its activation, an optional average pooling."""

    channels: int
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    pool: Pair | None = None
    """Window and stride of the average pooling after the activation; no padding, a remainder is dropped."""

    def convolved_shape(self, height: int, width: int) -> Pair:
        """Height and width after the convolution, before the pooling."""
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding
        return (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1

    def output_shape(self, height: int, width: int) -> Pair:
        """Height and width after the convolution and the pooling."""
        height, width = self.convolved_shape(height, width)
        return (height, width) if self.pool is None else (height // self.pool[0], width // self.pool[1])


@dataclass(frozen=True)
class ConvNet:
    """Convolutions, then a head (global average pooling, or flattening), then dense layers.

    One example is (channels, height, width); flattening is in that C order. `dense` holds the widths of the dense
    layers, the last of which is O. Parameters: ``conv{i}.weight`` (channels_out, channels_in, kh, kw),
    ``conv{i}.bias`` (channels_out,), and ``dense{i}.weight``, ``dense{i}.bias`` as in `MLP`.
    """

    input_shape: tuple[int, int, int]
    convs: tuple[Conv, ...]
    dense: tuple[int, ...]
    head: Literal["global", "flatten"] = "flatten"
    activation: Activation = "relu"
    bias: bool = True
    parameterization: Parameterization = "standard"
    W_std: float = 1.0
    b_std: float = 1.0

    def __post_init__(self) -> None:
        _check_common(self.activation, self.parameterization, self.W_std, self.b_std)
        if not self.convs or not self.dense:
            raise ValueError("a ConvNet needs at least one convolution and one dense layer")
        if self.head not in ("global", "flatten"):
            raise ValueError(f"unknown head {self.head!r}; choose 'global' or 'flatten'")
        for channels, height, width in self.feature_shapes():
            if min(channels, height, width) < 1:
                raise ValueError(f"the image shrinks to nothing: shapes {self.feature_shapes()}")

    @property
    def n_outputs(self) -> int:
        return self.dense[-1]

    @property
    def n_tokens(self) -> None:
        return None

    @property
    def n_layers(self) -> int:
        return len(self.convs) + len(self.dense)

    def feature_shapes(self) -> list[tuple[int, int, int]]:
        """(channels, height, width) at the input and after each convolution with its pooling."""
        shapes = [self.input_shape]
        for conv in self.convs:
            shapes.append((conv.channels, *conv.output_shape(*shapes[-1][1:])))
        return shapes

    @property
    def dense_widths(self) -> tuple[int, ...]:
        """Widths of the dense part from its input to O."""
        channels, height, width = self.feature_shapes()[-1]
        return (channels if self.head == "global" else channels * height * width, *self.dense)

    def param_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for i, conv in enumerate(self.convs):
            shapes[f"conv{i}.weight"] = (conv.channels, self.feature_shapes()[i][0], *conv.kernel)
            if self.bias:
                shapes[f"conv{i}.bias"] = (conv.channels,)
        return shapes | _dense_shapes(self.dense_widths, self.bias)

    def constant_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}


def _dense_shapes(widths: tuple[int, ...], bias: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        shapes[f"dense{i}.weight"] = (fan_out, fan_in)
        if bias:
            shapes[f"dense{i}.bias"] = (fan_out,)
    return shapes


def fan_in(weight_shape: tuple[int, ...]) -> int:
    """Number of inputs that one output of a layer sums over."""
    return math.prod(weight_shape[1:])


def weight_scale(network: MLP | ConvNet, weight_shape: tuple[int, ...]) -> float:
    """What the forward pass multiplies a weight by: W_std/√fan_in in the NTK parameterization, else 1."""
    return network.W_std / math.sqrt(fan_in(weight_shape)) if network.parameterization == "ntk" else 1.0


def bias_scale(network: MLP | ConvNet) -> float:
    """What the forward pass multiplies a bias by: b_std in the NTK parameterization, else 1."""
    return network.b_std if network.parameterization == "ntk" else 1.0
