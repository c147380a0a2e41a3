"""`Layered` networks from `torch.nn`'s own layers, one function for each kind of layer.

A layer of the reference becomes a module whose parameters are the `nn.Parameter`s of a table: two layers of one name
thereby hold the same ones, which is how PyTorch ties them. Frozen parameters have ``requires_grad=False``, running
statistics are buffers. Modules are made on the meta device, as in `impls.networks.torch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import singledispatch
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from reference import layers
from reference.layers import Layer, Shape, met

M = TypeVar("M", bound=nn.Module)
Table = Mapping[str, Tensor]
"""By the reference's names: the parameters as `nn.Parameter`, the other constants as tensors."""


class Function(nn.Module):
    """An elementwise function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "erf": lambda: Function(torch.erf),
    "gelu": nn.GELU,  # approximate="none": the exact one
    "sin": lambda: Function(torch.sin),
}


class Fourier(nn.Module):
    frequencies: Tensor

    def __init__(self, frequencies: Tensor) -> None:
        super().__init__()
        self.register_buffer("frequencies", frequencies)

    def forward(self, x: Tensor) -> Tensor:
        phases = x @ self.frequencies.T
        return torch.cat([torch.cos(phases), torch.sin(phases)], dim=-1)


class LearnedPositions(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class SelfAttention(nn.Module):
    def __init__(self, attention: nn.MultiheadAttention, causal: bool) -> None:
        super().__init__()
        self.attention = attention
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], x.device, x.dtype) if self.causal else None
        return self.attention(x, x, x, need_weights=False, attn_mask=mask, is_causal=self.causal)[0]


class Unrolled(nn.Module):
    """A recurrent cell over the steps of a sequence; the last state."""

    def __init__(self, cell: nn.RNNCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.cell.hidden_size)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state


class Unused(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x


class Residual(nn.Module):
    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


def sequential(several: tuple[Layer, ...], shape: Shape, table: Table) -> nn.Sequential:
    """The layers one after the other, for examples of that shape."""
    return nn.Sequential(*(module(layer, inside, table) for layer, inside in met(several, shape)))


@singledispatch
def module(layer: Layer, shape: Shape, table: Table) -> nn.Module:
    """The layer as a batched module that holds the table's parameters."""
    raise TypeError(f"PyTorch has no build of {layer!r}")


@module.register
def _(layer: layers.Dense, shape: Shape, table: Table) -> nn.Module:
    linear = nn.Linear(shape[-1], layer.width, bias=layer.bias, device="meta")
    return _filled(linear, layer.name, ["weight", "bias"] if layer.bias else ["weight"], table)


@module.register
def _(layer: layers.WeightNormDense, shape: Shape, table: Table) -> nn.Module:
    linear = weight_norm(nn.Linear(shape[-1], layer.width, device="meta"))
    halves = linear.get_submodule("parametrizations.weight")
    halves.original0, halves.original1 = table[f"{layer.name}.weight_g"], table[f"{layer.name}.weight_v"]
    return _filled(linear, layer.name, ["bias"], table)


@module.register
def _(layer: layers.Convolution, shape: Shape, table: Table) -> nn.Module:
    conv = nn.Conv2d(shape[0], layer.channels, layer.kernel, layer.stride, layer.padding, layer.dilation, layer.groups,
                     bias=layer.bias, device="meta")
    return _filled(conv, layer.name, ["weight", "bias"] if layer.bias else ["weight"], table)


@module.register
def _(layer: layers.BatchNorm, shape: Shape, table: Table) -> nn.Module:
    norm = nn.BatchNorm2d(shape[0], eps=layer.eps, device="meta")
    norm.num_batches_tracked = torch.tensor(1, device=table[f"{layer.name}.running_mean"].device)
    return _filled(norm, layer.name, ["weight", "bias", "running_mean", "running_var"], table)


@module.register
def _(layer: layers.LayerNorm, shape: Shape, table: Table) -> nn.Module:
    return _filled(nn.LayerNorm(shape[-1], eps=layer.eps, device="meta"), layer.name, ["weight", "bias"], table)


@module.register
def _(layer: layers.RMSNorm, shape: Shape, table: Table) -> nn.Module:
    return _filled(nn.RMSNorm(shape[-1], eps=layer.eps, device="meta"), layer.name, ["weight"], table)


@module.register
def _(layer: layers.Activate, shape: Shape, table: Table) -> nn.Module:
    frequency, rate = layer.frequency, layer.rate
    coordinate: dict[str, Callable[[Tensor], Tensor]] = {
        "siren": lambda x: torch.sin(frequency * x),
        "finer": lambda x: torch.sin(frequency * (x.abs() + 1) * x),
        "gaussian": lambda x: torch.exp(-((rate * x) ** 2)),
        "sinc": lambda x: torch.sinc(frequency * x / math.pi),  # PyTorch's, as NumPy's, has a π inside
        "wire": lambda x: torch.cos(frequency * x) * torch.exp(-((rate * x) ** 2)),
    }
    return Function(coordinate[layer.function]) if layer.function in coordinate else ACTIVATIONS[layer.function]()


@module.register
def _(layer: layers.FourierFeatures, shape: Shape, table: Table) -> nn.Module:
    return Fourier(table[f"{layer.name}.frequencies"])


@module.register
def _(layer: layers.GlobalPool, shape: Shape, table: Table) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


@module.register
def _(layer: layers.Embedding, shape: Shape, table: Table) -> nn.Module:
    return _filled(nn.Embedding(layer.n_tokens, layer.width, device="meta"), layer.name, ["weight"], table)


@module.register
def _(layer: layers.Positions, shape: Shape, table: Table) -> nn.Module:
    return LearnedPositions(table[f"{layer.name}.weight"])


@module.register
def _(layer: layers.Attention, shape: Shape, table: Table) -> nn.Module:
    attention = nn.MultiheadAttention(shape[-1], layer.n_heads, batch_first=True, device="meta")
    _filled(attention.out_proj, f"{layer.name}.out_proj", ["weight", "bias"], table)
    return SelfAttention(_filled(attention, layer.name, ["in_proj_weight", "in_proj_bias"], table), layer.causal)


@module.register
def _(layer: layers.Recurrent, shape: Shape, table: Table) -> nn.Module:
    cell = nn.RNNCell(shape[-1], layer.width, device="meta")
    return Unrolled(_filled(cell, layer.name, ["weight_ih", "weight_hh", "bias_ih", "bias_hh"], table))


@module.register
def _(layer: layers.Unused, shape: Shape, table: Table) -> nn.Module:
    return Unused(table[f"{layer.name}.weight"])


@module.register
def _(layer: layers.Residual, shape: Shape, table: Table) -> nn.Module:
    return Residual(sequential(layer.body, shape, table), sequential(layer.shortcut, shape, table))


def _filled(made: M, name: str, roles: Iterable[str], table: Table) -> M:
    """The module with the table's tensors in place of its own."""
    for role in roles:
        setattr(made, role, table[f"{name}.{role}"])
    return made
