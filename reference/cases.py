"""The shared cases: small networks, each there for a reason, on which every method is held against a proof."""

from __future__ import annotations

import difflib

from reference.case import Case, InputError, random_case
from reference.layered import Described, Layered
from reference.layers import (
    Activate,
    Attention,
    BatchNorm,
    Convolution,
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
    Unused,
    WeightNormDense,
)
from reference.networks import MLP, Conv, ConvNet


def transformer_block(name: str, width: int, n_heads: int, expansion: int = 2) -> tuple[Layer, ...]:
    """Pre-norm (Xiong et al. 2020), exact GELU, `expansion` times the width inside."""
    return (Residual((LayerNorm(f"{name}.norm1"), Attention(f"{name}.attention", n_heads))),
            Residual((LayerNorm(f"{name}.norm2"), Dense(f"{name}.dense1", expansion * width), Activate("gelu"),
                      Dense(f"{name}.dense2", width))))


# name: (network, N1, N2). N1 ≠ N2 and neither is O wherever it can be, so that a wrong layout shows in the shape.
_CASES: dict[str, tuple[Described, int, int]] = {
    # Depth 1: K = x1·x2ᵀ + 1 on every output, 0 between outputs.
    "linear": (MLP((5, 3)), 4, 2),
    "mlp_relu": (MLP((6, 11, 3), "relu"), 4, 2),
    "mlp_relu_deep": (MLP((5, 9, 7, 8, 3), "relu", W_std=1.5), 4, 5),
    "mlp_tanh_ntk": (MLP((5, 8, 9, 4), "tanh", parameterization="ntk", W_std=1.5, b_std=0.3), 3, 5),
    "mlp_erf_ntk_no_bias": (MLP((6, 7, 3), "erf", bias=False, parameterization="ntk", W_std=1.25), 4, 2),
    "mlp_gelu": (MLP((7, 9, 8, 3), "gelu", W_std=1.25, b_std=0.5), 2, 4),
    # A single example in x1.
    "mlp_sin_no_bias": (MLP((6, 10, 3), "sin", bias=False), 1, 4),
    # A single output: sum, mean and only-output-0 agree here, and the output axes still have to be there.
    "mlp_one_output": (MLP((6, 8, 1), "relu", parameterization="ntk", W_std=1.4, b_std=0.1), 4, 3),
    "mlp_wide": (MLP((12, 48, 32, 3), "relu"), 4, 2),
    # 18 parameters, N1·O = 24: J Jᵀ is singular here, and a Jᵀ J taken for it has another shape.
    "mlp_few_parameters": (MLP((2, 2, 4), "tanh"), 6, 3),
    "conv_same_global": (ConvNet((2, 5, 6), (Conv(4, padding=(1, 1)), Conv(5, padding=(1, 1))), (3,), "global"), 4, 2),
    # Odd sides, so that "SAME" pads both ends alike.
    "conv_stride": (ConvNet((2, 7, 5), (Conv(4, stride=(2, 2), padding=(1, 1)),), (3,), activation="tanh"), 4, 2),
    # The pooling drops a remainder: 6×5 becomes 3×2.
    "conv_pool_dense": (ConvNet((1, 8, 7), (Conv(4, pool=(2, 2)),), (6, 3)), 4, 2),
    # Padding that neither "SAME" nor "VALID" gives.
    "conv_explicit_padding": (
        ConvNet((2, 5, 4), (Conv(4, (3, 2), (2, 1), (2, 1)),), (3,), activation="erf", W_std=1.25), 2, 4),
    "conv_ntk": (
        ConvNet((3, 6, 4), (Conv(4, (3, 1), padding=(1, 0)),), (3,), "global", "gelu",
                parameterization="ntk", W_std=1.5, b_std=0.25), 4, 2),
    "conv_1x1_no_bias": (ConvNet((3, 3, 2), (Conv(5, (1, 1)),), (3,), activation="sin", bias=False), 4, 2),
    # Running statistics are no parameters; the shortcut is strided, the body strided, dilated and grouped.
    "residual_batch_norm": (Layered((2, 5, 4), (
        Convolution("stem", 4, padding=(1, 1), bias=False), BatchNorm("stem_norm"), Activate("relu"),
        Residual(
            (Convolution("first", 4, (3, 2), (2, 2), (1, 1), groups=2, bias=False), BatchNorm("first_norm"),
             Activate("relu"), Convolution("second", 6, (2, 2), dilation=(2, 3), padding=(1, 1), groups=2)),
            (Convolution("shortcut", 6, (1, 1), (2, 2)),)),
        Activate("relu"), GlobalPool(), Dense("head", 3))), 4, 2),
    # Outputs of three axes, (channels, height, width), flattened in that order.
    "conv_image_outputs": (Layered((2, 4, 4), (
        Convolution("first", 2, (2, 2), dilation=(1, 2)), Activate("tanh"), Convolution("second", 2, (2, 1)))), 2, 3),
    "norms": (Layered((5,), (
        Dense("first", 6), LayerNorm("layer_norm"), Activate("tanh"), Dense("second", 7), RMSNorm("rms_norm"),
        Activate("gelu"), Dense("head", 3))), 4, 2),
    # Inputs are integers, outputs are logits (T, tokens), and the embedding is the head's weight as well.
    "transformer": (Layered((3,), (
        Embedding("tokens", 5, 4), Positions("positions"), *transformer_block("block0", 4, 2), LayerNorm("norm"),
        Dense("tokens", 5, bias=False))), 2, 3),
    # The same weights at each of four steps.
    "recurrent": (Layered((4, 3), (Recurrent("cell", 5), Dense("head", 3))), 4, 2),
    "fourier_siren": (Layered((2,), (
        FourierFeatures("fourier", 4, std=3.0), Dense("first", 6, std=1 / 30), Activate("siren", frequency=30.0),
        Dense("second", 7, std=1 / 30), Activate("siren", frequency=30.0), Dense("head", 3))), 4, 2),
    "finer_gaussian": (Layered((2,), (
        Dense("first", 6), Activate("finer", frequency=1.5), Dense("second", 7), Activate("gaussian", rate=0.5),
        Dense("head", 3))), 4, 2),
    "sinc_wire": (Layered((2,), (
        Dense("first", 6), Activate("sinc", frequency=3.0), Dense("second", 7),
        Activate("wire", frequency=5.0, rate=0.75), Dense("head", 3))), 4, 2),
    # One layer, used twice: a tied parameter's derivative is the sum over its uses.
    "tied_dense": (Layered((4,), (
        Dense("first", 5), Activate("tanh"), Dense("middle", 5), Activate("tanh"), Dense("middle", 5), Activate("tanh"),
        Dense("head", 3))), 4, 2),
    "frozen": (Layered((5,), (
        Dense("first", 6), Activate("tanh"), Dense("second", 7), Activate("relu"), Dense("head", 3)),
        frozen=("first.weight", "second.bias")), 4, 2),
    # A parameter that does not enter linearly.
    "weight_norm": (Layered((5,), (WeightNormDense("first", 6), Activate("tanh"), WeightNormDense("head", 3))), 4, 2),
    # A parameter with derivatives of 0, whatever the framework makes of it.
    "unused_parameter": (Layered((5,), (
        Dense("first", 6), Unused("spare", (2, 3)), Activate("relu"), Dense("head", 3))), 4, 2),
}


def names() -> list[str]:
    """The names of the shared cases."""
    return list(_CASES)


def cases() -> list[Case]:
    """All shared cases, made anew, each with x2; `Case.with_symmetry` gives x2 = x1."""
    return [case(name) for name in names()]


def case(name: str) -> Case:
    """The shared case of that name. Raises `InputError`, with the nearest names, for an unknown one."""
    if name not in _CASES:
        near = difflib.get_close_matches(name, _CASES, n=3, cutoff=0.4) or _CASES
        raise InputError(f"unknown case {name!r}; known are e.g. {', '.join(near)}")
    return random_case(name, *_CASES[name])
