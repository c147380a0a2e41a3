"""The reference's own forward pass of a `Layered` network: one example at a time, in primitives of the tape."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import numpy as np

from reference import layers
from reference.arithmetic import Function, KinkError
from reference.layered import Layered
from reference.layers import Layer
from reference.seen import Seen, note
from reference.tape import (
    Node,
    add,
    concatenate,
    elementwise,
    gather,
    matmul,
    mean,
    multiply,
    reshape,
    scale,
    total,
    transpose,
)
from reference.windows import window_indices

Nodes = Mapping[str, Node]


def layered_forward(network: Layered, arrays: Nodes, x: Node | np.ndarray, seen: Seen | None = None) -> Node:
    """As `reference.forward.forward`."""
    return reshape(_through(network.layers, arrays, x, seen), (network.n_outputs, 1))


def _through(several: tuple[Layer, ...], arrays: Nodes, x: Node | np.ndarray, seen: Seen | None = None) -> Node:
    for layer in several:
        taken, x = x, _embed(layer, arrays, x) if isinstance(x, np.ndarray) else apply(layer, arrays, x)
        note(seen, layer, taken, x)
    assert isinstance(x, Node)
    return x


@singledispatch
def apply(layer: Layer, arrays: Nodes, x: Node) -> Node:
    """What the layer makes of `x`, of the shape of one example."""
    raise TypeError(f"the reference has no forward pass of {layer!r} for inputs that are no tokens")


def _embed(layer: Layer, arrays: Nodes, tokens: np.ndarray) -> Node:
    assert isinstance(layer, layers.Embedding)
    return gather(arrays[f"{layer.name}.weight"], tokens[:, None] * layer.width + np.arange(layer.width))


@apply.register
def _(layer: layers.Dense, arrays: Nodes, x: Node) -> Node:
    return _affine(arrays[f"{layer.name}.weight"], arrays[f"{layer.name}.bias"] if layer.bias else None, x)


@apply.register
def _(layer: layers.WeightNormDense, arrays: Nodes, x: Node) -> Node:
    direction = arrays[f"{layer.name}.weight_v"]
    norms = _function("sqrt", total(multiply(direction, direction), axis=1))
    weight = multiply(direction, multiply(arrays[f"{layer.name}.weight_g"], _function("reciprocal", norms)))
    return _affine(weight, arrays[f"{layer.name}.bias"], x)


@apply.register
def _(layer: layers.Convolution, arrays: Nodes, x: Node) -> Node:
    """Each group a matrix product of its part of the weight with the patches of its own channels."""
    weight, shape = arrays[f"{layer.name}.weight"], x.value.shape
    windows = window_indices(shape, layer.kernel, layer.stride, layer.padding, layer.dilation)
    rows = reshape(weight, (layer.channels, -1))
    of_outputs, of_inputs = (np.split(np.arange(n), layer.groups) for n in (layer.channels, len(windows)))
    parts = [matmul(_rows(rows, outputs), gather(x, windows[inputs]))
             for outputs, inputs in zip(of_outputs, of_inputs, strict=True)]
    y = concatenate(parts, axis=0)
    if layer.bias:
        y = add(y, reshape(arrays[f"{layer.name}.bias"], (layer.channels, 1)))
    return reshape(y, layer.output_shape(shape))


@apply.register
def _(layer: layers.BatchNorm, arrays: Nodes, x: Node) -> Node:
    gain, bias, centre, variance = (reshape(arrays[f"{layer.name}.{role}"], (-1, 1, 1))
                                    for role in ("weight", "bias", "running_mean", "running_var"))
    return add(multiply(gain, multiply(_subtract(x, centre), _inverse_root(variance, layer.eps))), bias)


@apply.register
def _(layer: layers.LayerNorm, arrays: Nodes, x: Node) -> Node:
    centred = _subtract(x, _mean(x))
    normalised = multiply(centred, _inverse_root(_mean(multiply(centred, centred)), layer.eps))
    return add(multiply(arrays[f"{layer.name}.weight"], normalised), arrays[f"{layer.name}.bias"])


@apply.register
def _(layer: layers.RMSNorm, arrays: Nodes, x: Node) -> Node:
    return multiply(arrays[f"{layer.name}.weight"], multiply(x, _inverse_root(_mean(multiply(x, x)), layer.eps)))


@apply.register
def _(layer: layers.Activate, arrays: Nodes, x: Node) -> Node:
    arithmetic = x.tape.arithmetic
    phase = scale(x, arithmetic.number(layer.frequency))
    if layer.function == "siren":
        return elementwise(phase, *arithmetic.activations["sin"])
    if layer.function == "finer":
        bent = add(_function("signed_square", x), x)
        return elementwise(scale(bent, arithmetic.number(layer.frequency)), *arithmetic.activations["sin"])
    if layer.function == "sinc":
        return _function("sinc", phase)
    if layer.function == "gaussian":
        return _gaussian(x, layer.rate)
    if layer.function == "wire":
        return multiply(_function("cos", phase), _gaussian(x, layer.rate))
    try:
        return elementwise(x, *arithmetic.activations[layer.function])
    except KinkError as kink:
        raise KinkError(f"layer {layer.function}: {kink}") from None


def _gaussian(x: Node, rate: float) -> Node:
    scaled = scale(x, x.tape.arithmetic.number(rate))
    return _function("exp", scale(multiply(scaled, scaled), x.tape.arithmetic.number(-1.0)))


@apply.register
def _(layer: layers.FourierFeatures, arrays: Nodes, x: Node) -> Node:
    phases = _affine(arrays[f"{layer.name}.frequencies"], None, x)
    return concatenate([_function("cos", phases), elementwise(phases, *x.tape.arithmetic.activations["sin"])], axis=0)


@apply.register
def _(layer: layers.GlobalPool, arrays: Nodes, x: Node) -> Node:
    return mean(reshape(x, (x.value.shape[0], -1)), axis=1)


@apply.register
def _(layer: layers.Positions, arrays: Nodes, x: Node) -> Node:
    return add(x, arrays[f"{layer.name}.weight"])


@apply.register
def _(layer: layers.Attention, arrays: Nodes, x: Node) -> Node:
    projected = _affine(arrays[f"{layer.name}.in_proj_weight"], arrays[f"{layer.name}.in_proj_bias"], x)
    places = np.split(np.arange(projected.value.shape[1]), 3 * layer.n_heads)  # queries, then keys, then values
    parts = [_columns(projected, place) for place in places]
    heads = [_attend(*parts[head :: layer.n_heads], causal=layer.causal) for head in range(layer.n_heads)]
    return _affine(arrays[f"{layer.name}.out_proj.weight"], arrays[f"{layer.name}.out_proj.bias"],
                   concatenate(heads, axis=1))


def _attend(query: Node, key: Node, value: Node, *, causal: bool) -> Node:
    """softmax(Q Kᵀ/√d) V. The exponentials are not shifted: these numbers are small, and balls do not overflow."""
    arithmetic, (length, width) = query.tape.arithmetic, query.value.shape
    scores = scale(matmul(query, transpose(key)), 1 / arithmetic.sqrt(arithmetic.number(width)))
    seen = np.tril(np.ones((length, length))) if causal else np.ones((length, length))
    weights = multiply(_function("exp", scores), query.tape.leaf(arithmetic.lift(seen)))
    return matmul(multiply(weights, _function("reciprocal", total(weights, axis=1))), value)


@apply.register
def _(layer: layers.Recurrent, arrays: Nodes, x: Node) -> Node:
    weight_ih, weight_hh, bias_ih, bias_hh = (arrays[f"{layer.name}.{role}"]
                                              for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    state = x.tape.leaf(x.tape.arithmetic.lift(np.zeros((1, layer.width))))
    for step in range(x.value.shape[0]):
        driven = add(_affine(weight_ih, bias_ih, _rows(x, np.array([step]))), _affine(weight_hh, bias_hh, state))
        state = elementwise(driven, *x.tape.arithmetic.activations["tanh"])
    return reshape(state, (layer.width,))


@apply.register
def _(layer: layers.Unused, arrays: Nodes, x: Node) -> Node:
    return x


@apply.register
def _(layer: layers.Residual, arrays: Nodes, x: Node) -> Node:
    return add(_through(layer.body, arrays, x), _through(layer.shortcut, arrays, x))


def _affine(weight: Node, bias: Node | None, x: Node) -> Node:
    """W x + b along the last axis."""
    fan_out, fan_in = weight.value.shape
    y = matmul(reshape(x, (-1, fan_in)), transpose(weight))
    return reshape(y if bias is None else add(y, bias), (*x.value.shape[:-1], fan_out))


def _function(name: Function, x: Node) -> Node:
    return elementwise(x, *x.tape.arithmetic.functions[name])


def _subtract(a: Node, b: Node) -> Node:
    return add(a, scale(b, b.tape.arithmetic.number(-1.0)))


def _mean(x: Node) -> Node:
    """Over the last axis, which is kept with size 1."""
    axis = x.value.ndim - 1
    return scale(total(x, axis), 1 / x.tape.arithmetic.number(x.value.shape[axis]))


def _inverse_root(x: Node, eps: float) -> Node:
    """1/√(x + eps)"""
    shifted = add(x, x.tape.leaf(x.tape.arithmetic.lift(np.array(eps))))
    return _function("reciprocal", _function("sqrt", shifted))


def _rows(matrix: Node, places: np.ndarray) -> Node:
    return gather(matrix, _entries(matrix)[places])


def _columns(matrix: Node, places: np.ndarray) -> Node:
    return gather(matrix, _entries(matrix)[:, places])


def _entries(matrix: Node) -> np.ndarray:
    return np.arange(matrix.value.size).reshape(matrix.value.shape)
