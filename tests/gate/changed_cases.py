"""Cases changed in ways whose effect on the kernel is known exactly; None where a case has no such change.

All factors are powers of 2, so that float32 holds the changed numbers too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reference import MLP, Case, ConvNet, Layered
from reference.layers import Activate, Convolution, Dense, Layer, Residual, Unused


def selected(case: Case, rows: Any, columns: Any = None) -> Case:
    """With the examples `rows` of x1 as x1, and `columns` of x1 as x2 (None: x2 = x1)."""
    return replace(case, x1=case.x1[rows], x2=None if columns is None else case.x1[columns])


def reordered_parameters(case: Case) -> Case:
    """The same arrays in the other order, and in a `Layered` network under names in another order of the alphabet."""
    case = as_layers(case)
    network = case.network
    if isinstance(network, Layered):
        names = list(dict.fromkeys(layer_name(name) for name in (*case.params, *case.constants)))
        new = {old: f"p{len(names) - i:02d}" for i, old in enumerate(names)}
        case = _renamed(case, network, new)
    return replace(case, params={name: case.params[name] for name in reversed(list(case.params))})


def as_layers(case: Case) -> Case:
    """An MLP in the standard parameterization as a `Layered` network: the same function."""
    network = case.network
    if not isinstance(network, MLP) or network.parameterization != "standard":
        return case
    layers: list[Layer] = []
    for i, width in enumerate(network.widths[1:]):
        layers += [Dense(f"dense{i}", width, network.bias), Activate(network.activation)]
    return replace(case, network=Layered(network.input_shape, tuple(layers[:-1])))


def layer_name(array_name: str) -> str:
    """``"block0.attention"`` of ``"block0.attention.out_proj.weight"``."""
    for roles in (".out_proj.weight", ".out_proj.bias"):  # of an attention: two words
        if array_name.endswith(roles):
            return array_name.removesuffix(roles)
    return array_name.rpartition(".")[0]


def _renamed(case: Case, network: Layered, new: Mapping[str, str]) -> Case:
    def array(name: str) -> str:
        old = layer_name(name)
        return new[old] + name.removeprefix(old)

    def layer(one: Layer) -> Layer:
        if isinstance(one, Residual):
            return Residual(tuple(map(layer, one.body)), tuple(map(layer, one.shortcut)))
        fields: Any = one
        return replace(fields, name=new[fields.name]) if hasattr(one, "name") else one

    return replace(case, network=Layered(network.input_shape, tuple(map(layer, network.layers)),
                                         tuple(array(name) for name in network.frozen)),
                   params={array(name): value for name, value in case.params.items()},
                   constants={array(name): value for name, value in case.constants.items()})


def last_layer(case: Case) -> tuple[str, tuple[int, ...], int] | None:
    """Name, shape of the outputs, and the axis of it that the rows of the weight run along; None where it is tied."""
    network = case.network
    if isinstance(network, MLP):
        return f"dense{network.n_layers - 1}", (network.n_outputs,), 0
    if isinstance(network, ConvNet):
        return f"dense{len(network.dense) - 1}", (network.n_outputs,), 0
    assert isinstance(network, Layered)
    last = network.layers[-1]
    names = [getattr(layer, "name", None) for layer in network.all_layers()]
    if not isinstance(last, Dense | Convolution) or names.count(last.name) > 1:
        return None
    return last.name, network.output_shape, 0 if isinstance(last, Convolution) else len(network.output_shape) - 1


def last_weight_scaled(case: Case, factor: float) -> Case | None:
    """K = K_last + K_hidden becomes K_last + factor² K_hidden, as the output is linear in the last weight."""
    last = last_layer(case)
    if last is None or len({layer_name(name) for name in case.params}) == 1:
        return None
    weight = f"{last[0]}.weight"
    return replace(case, params={**case.params, weight: factor * case.params[weight]})


def outputs_permuted(case: Case) -> tuple[Case, np.ndarray] | None:
    """The rows of the last layer in another order; output i of the new network is output order[i] of the old one."""
    last = last_layer(case)
    if last is None or last[1][last[2]] == 1:
        return None
    name, shape, axis = last
    rows = np.roll(np.arange(shape[axis]), 1)
    changed = {f"{name}.{role}": case.params[f"{name}.{role}"][rows]
               for role in ("weight", "bias") if f"{name}.{role}" in case.params}
    order = np.take(np.arange(np.prod(shape)).reshape(shape), rows, axis).ravel()
    return replace(case, params={**case.params, **changed}), order


def reparameterized(case: Case) -> Case | None:
    """W_std and b_std doubled, parameters halved: in the NTK parameterization the same function, and 4 K."""
    network = case.network
    if not isinstance(network, MLP | ConvNet) or network.parameterization != "ntk":
        return None
    return replace(case, network=replace(network, W_std=2 * network.W_std, b_std=2 * network.b_std),
                   params={name: value / 2 for name, value in case.params.items()})


def inputs_doubled(case: Case) -> Case | None:
    """x and b_std doubled: a ReLU network in the NTK parameterization, or without biases, then has 2 f and 4 K."""
    network = case.network
    if not isinstance(network, MLP | ConvNet) or network.activation != "relu":
        return None
    if network.bias and network.parameterization != "ntk":
        return None
    return replace(case, network=replace(network, b_std=2 * network.b_std), x1=2 * case.x1,
                   x2=None if case.x2 is None else 2 * case.x2)


def frozen_but(case: Case, trained: Collection[str]) -> Case:
    """Only these parameters are trained; the others become constants."""
    network = case.network
    assert isinstance(network, Layered)
    others = {name: value for name, value in case.params.items() if name not in trained}
    return replace(case, network=replace(network, frozen=(*network.frozen, *others)),
                   params={name: case.params[name] for name in trained}, constants={**others, **case.constants})


def parts(case: Case, n_parts: int | None) -> list[list[str]]:
    """The names of the parameters in `n_parts` parts, neighbours apart; None puts each in a part of its own.

    One that the output does not depend on, and has no kernel by itself, goes with the first.
    """
    assert isinstance(case.network, Layered)
    unused = {f"{layer.name}.weight" for layer in case.network.all_layers() if isinstance(layer, Unused)}
    names = [name for name in case.params if name not in unused]
    n = len(names) if n_parts is None else min(n_parts, len(names))
    first, *rest = [names[i::n] for i in range(n)]
    return [[*first, *(name for name in case.params if name in unused)], *rest]
