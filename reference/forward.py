"""The reference's own forward pass of the shared networks, one example at a time, on the tape.

Every layer is a matrix product: features are a matrix (channels, positions), a dense layer's have one position, and
a convolution multiplies its weight, as a matrix (channels_out, channels_in·kh·kw), with the patches its kernel meets.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reference.arithmetic import KinkError
from reference.forward_layers import layered_forward
from reference.layered import Described, Layered
from reference.networks import MLP, Conv, ConvNet, fan_in
from reference.seen import Seen, note
from reference.tape import Node, add, elementwise, gather, matmul, mean, reshape, scale
from reference.windows import window_indices


def forward(network: Described, params: Mapping[str, Node], x: Node | np.ndarray, seen: Seen | None = None) -> Node:
    """The outputs (O, 1) for one example `x` of shape `network.input_shape`.

    `params`, the network's parameters and constants, and `x` are on one tape; tokens are an array of integers. `seen`
    notes what the named layers take and give: of a `Layered` network those that are not within others. Raises
    `KinkError`, naming the layer, where the arithmetic cannot tell the slope of an activation.
    """
    if isinstance(network, Layered):
        return layered_forward(network, params, x, seen)
    assert isinstance(x, Node)
    if isinstance(network, MLP):
        return _dense_layers(network, params, reshape(x, (network.widths[0], 1)), network.n_layers, seen)
    features = x
    for i, (conv, shape) in enumerate(zip(network.convs, network.feature_shapes(), strict=False)):
        features = _conv_layer(network, params, f"conv{i}", conv, features, shape, seen)
    channels, height, width = network.feature_shapes()[-1]
    if network.head == "global":
        features = mean(reshape(features, (channels, height * width)), axis=1)
    return _dense_layers(network, params, reshape(features, (network.dense_widths[0], 1)), len(network.dense), seen)


def _conv_layer(network: ConvNet, params: Mapping[str, Node], layer: str, conv: Conv, x: Node,
                shape: tuple[int, int, int], seen: Seen | None) -> Node:
    patches = gather(x, window_indices(shape, conv.kernel, conv.stride, conv.padding))
    convolved = _affine(network, params, layer, patches)
    note(seen, layer, x, convolved)
    features = _activate(network, layer, convolved)
    if conv.pool is None:
        return features
    image = (conv.channels, *conv.convolved_shape(*shape[1:]))
    windows = gather(features, window_indices(image, conv.pool, conv.pool, (0, 0)))
    positions = windows.value.shape[1]
    return mean(reshape(windows, (conv.channels, conv.pool[0] * conv.pool[1], positions)), axis=1)


def _dense_layers(network: MLP | ConvNet, params: Mapping[str, Node], x: Node, n_layers: int,
                  seen: Seen | None) -> Node:
    for i in range(n_layers):
        taken, x = x, _affine(network, params, f"dense{i}", x)
        note(seen, f"dense{i}", taken, x)
        if i < n_layers - 1:
            x = _activate(network, f"dense{i}", x)
    return x


def _affine(network: MLP | ConvNet, params: Mapping[str, Node], layer: str, x: Node) -> Node:
    """W x + b with the factors of the parameterization, for the columns of x."""
    weight, arithmetic = params[f"{layer}.weight"], x.tape.arithmetic
    shape = weight.value.shape
    y = matmul(reshape(weight, (shape[0], fan_in(shape))), x)
    bias = reshape(params[f"{layer}.bias"], (shape[0], 1)) if network.bias else None
    if network.parameterization == "ntk":
        y = scale(y, arithmetic.number(network.W_std) / arithmetic.sqrt(arithmetic.number(fan_in(shape))))
        bias = None if bias is None else scale(bias, arithmetic.number(network.b_std))
    return y if bias is None else add(y, bias)


def _activate(network: MLP | ConvNet, layer: str, x: Node) -> Node:
    try:
        return elementwise(x, *x.tape.arithmetic.activations[network.activation])
    except KinkError as kink:
        raise KinkError(f"layer {layer}: {kink}") from None
