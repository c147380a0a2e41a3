"""The cases of the profile `engines`."""

from __future__ import annotations

from bench.cells.cases import CaseSource, NetworkOnNoise
from reference import MLP, Conv, ConvNet, Layered
from reference.cases import transformer_block
from reference.layers import (
    Activate,
    BatchNorm,
    Convolution,
    Dense,
    GlobalPool,
    Layer,
    LayerNorm,
    Positions,
    Residual,
)


def mlp(depth: int, width: int, n_outputs: int, n_inputs: int = 784) -> MLP:
    """`depth` hidden ReLU layers."""
    return MLP((n_inputs, *[width] * depth, n_outputs), W_std=2.0**0.5, b_std=0.1)


def _convnet(n_outputs: int) -> ConvNet:
    conv = Conv(32, padding=(1, 1))
    return ConvNet((3, 16, 16), (conv, conv), (n_outputs,), "global", W_std=2.0**0.5, b_std=0.1)


def resnet(width: int) -> Layered:
    """The layers of ResNet-18 (He et al. 2016) with `width` channels in the first stage, a 3×3 stem for 32×32."""
    layers: list[Layer] = [Convolution("stem", width, padding=(1, 1), bias=False), BatchNorm("stem_norm"),
                           Activate("relu")]
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and not block else 1
            layers += [*_basic_block(f"stage{stage}.block{block}", width << stage, stride), Activate("relu")]
    return Layered((3, 32, 32), (*layers, GlobalPool(), Dense("head", 10)))


def _basic_block(name: str, channels: int, stride: int) -> tuple[Layer, ...]:
    strides = (stride, stride)
    body = (Convolution(f"{name}.conv1", channels, stride=strides, padding=(1, 1), bias=False),
            BatchNorm(f"{name}.norm1"), Activate("relu"),
            Convolution(f"{name}.conv2", channels, padding=(1, 1), bias=False), BatchNorm(f"{name}.norm2"))
    shortcut: tuple[Layer, ...] = ()
    if stride > 1:
        shortcut = (Convolution(f"{name}.shortcut", channels, (1, 1), strides, bias=False), BatchNorm(f"{name}.norm3"))
    return (Residual(body, shortcut),)


def _transformer(n_layers: int, width: int, length: int) -> Layered:
    """Pre-norm, causal, on a sequence of vectors; one output at each position."""
    layers: list[Layer] = [Dense("embed", width), Positions("positions")]
    for i in range(n_layers):
        layers += transformer_block(str(i), width, 4, expansion=4)
    return Layered((length, 16), (*layers, LayerNorm("norm"), Dense("head", 1)))


def _mlps() -> list[CaseSource]:
    return [NetworkOnNoise(f"MLP-depth{depth}-w1024-o{o}-n64{suffix}", mlp(depth, 1024, o), 64, n2)
            for depth in (3, 10) for o in (10, 1) for suffix, n2 in (("", None), ("-x2", 64))]


MANY = "MLP-depth3-w1024-o1-n4096-trace"

CASES: tuple[CaseSource, ...] = (
    *_mlps(),
    *(NetworkOnNoise(f"ConvNet-c32-16x16-o{o}-n16", _convnet(o), 16) for o in (10, 1)),
    NetworkOnNoise("ResNet18-c32-32x32-o10-n4", resnet(32), 4),
    NetworkOnNoise("Transformer-layers4-d128-t64-n2", _transformer(4, 128, 64), 2),
    NetworkOnNoise(MANY, mlp(3, 1024, 1, n_inputs=64), 4096),
)

OUTPUTS: dict[str, tuple[str, ...]] = {MANY: ("trace",)}
"""Of the cases that are not asked for the full kernel."""
