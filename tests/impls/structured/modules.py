"""Small PyTorch modules, one for each way that a parameter may enter: what the structured engine is tested on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Small(NamedTuple):
    """`rules`: for some parameters, how the rule that covers them begins. `rows`: the examples hold row numbers below
    it."""

    module: Callable[[], nn.Module]
    example: tuple[int, ...]
    rules: dict[str, str] = {}  # noqa: RUF012
    rows: int | None = None

    def draw(self, n1: int, n2: int, dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor]:
        """The module in evaluation mode and two batches, always the same; the global random generator stays as it
        is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            module = self.module()
            for name, buffer in module.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    buffer.uniform_(0.5, 2.0)
            if self.rows is None:
                x1, x2 = (torch.randn(n, *self.example, dtype=dtype) for n in (n1, n2))
            else:
                x1, x2 = (torch.randint(0, self.rows, (n, *self.example)) for n in (n1, n2))
        return module.to(dtype).eval(), x1, x2


class Function(nn.Module):
    """A module from its parts (modules and parameters) and its forward function."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 6), nn.GELU(), nn.Linear(6, 3))


def linear_only() -> nn.Module:
    return nn.Linear(4, 3)


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, (3, 2), padding=2, dilation=(2, 1), groups=2, bias=False), nn.GroupNorm(2, 8), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))  # fmt: skip


def conv_in_one_and_three_dimensions() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.tanh(m.one(x)).reshape(len(x), 2, 2, 3, -1)
        return m.three(h).flatten(1)

    return Function(forward, one=nn.Conv1d(2, 12, 3, padding="same"), three=nn.Conv3d(2, 2, (1, 2, 2)))


def transposed_convolution() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.Tanh(), nn.Conv2d(3, 1, 2), nn.Flatten())


def self_attention() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.cat([m.token.expand(len(x), -1, -1), x], 1)
        return m.attention(h, h, h, need_weights=False)[0][:, :2]

    return Function(forward, attention=nn.MultiheadAttention(8, 2, batch_first=True), token=parameter(1, 1, 8))


def cross_attention() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.norm(m.attention(x, x.flip(1), x.roll(1, 1))[0]).mean(1)

    return Function(forward, attention=nn.MultiheadAttention(4, 2, batch_first=True, bias=False), norm=nn.RMSNorm(4))


def transformer() -> nn.Module:
    """The embedding is the output layer as well."""

    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.block(m.table(x) + m.places)
        return F.linear(m.norm(h)[:, -2:], m.table.weight)

    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return Function(forward, table=nn.Embedding(5, 8), places=parameter(4, 8), block=block, norm=nn.LayerNorm(8))


def decoder() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return m.block(x, mask, is_causal=True)[:, 1:].flatten(1)[:, ::3]

    return Function(forward, block=nn.TransformerEncoderLayer(4, 1, 8, batch_first=True, norm_first=True))


def recurrent() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 4)
        for step in x.unbind(1):
            h = torch.tanh(m.inner(step) + m.again(h))
        return m.out(h)

    return Function(forward, inner=nn.Linear(3, 4), again=nn.Linear(4, 4, bias=False), out=nn.Linear(4, 2))


def lstm() -> nn.Module:
    return Function(lambda m, x: m.out(m.lstm(x)[0][:, -1]), lstm=nn.LSTM(3, 4, batch_first=True), out=nn.Linear(4, 2))


def einsum() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.tanh(torch.einsum("btd,hdk->bthk", x, m.inner))
        return torch.einsum("bthk,hke->bte", h, m.out) + torch.matmul(x[:, None], m.shared).sum(1)

    return Function(forward, inner=parameter(2, 3, 4), out=parameter(2, 4, 3), shared=parameter(3, 3))


def tied() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.tanh(m.first(x))
        return torch.cat([m.first(h), F.linear(h, m.first.weight.T, m.first.bias)], 1)[:, 1:6]

    return Function(forward, first=nn.Linear(4, 4))


def scaled_views() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        w, b = 0.5 * m.w, m.b.to(torch.float32).to(x.dtype) if x.dtype is torch.float32 else m.b
        h = torch.sin(F.linear(x, w[:4], b[:4]) / 2 - F.linear(x, -w[4:].flip(0), b[4:]))
        return (h * m.s) @ m.out.view(4, 2) - m.bias + h[:, :1] / m.divided

    return Function(
        forward,
        w=parameter(8, 3),
        b=parameter(8),
        s=parameter(4),
        out=parameter(8),
        bias=parameter(2),
        divided=nn.Parameter(torch.tensor([2.0, 3.0])),
    )


def multiplied_by_zero() -> nn.Module:
    return Function(
        lambda m, x: 0.0 * (x @ m.w) + m.b + (x @ (0.0 * m.v)), w=parameter(3, 2), v=parameter(3, 2), b=parameter(2)
    )


def concatenated() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        return torch.tanh(F.linear(x, torch.cat([m.a, m.b]))) @ torch.stack([m.c, 2 * m.c + m.d], 1)

    return Function(forward, a=parameter(2, 3), b=parameter(1, 3), c=parameter(3), d=parameter(3))


def weight_norm() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 2))


def frozen_and_unused() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            gate = m.gate(x).sigmoid()
        return m.out(torch.tanh(m.frozen(x)) * gate * m.gate.bias.detach()) + m.frozen.bias.sum()

    frozen = nn.Linear(3, 4).requires_grad_(False)
    return Function(forward, frozen=frozen, gate=nn.Linear(3, 4), out=nn.Linear(4, 2), unused=nn.Linear(2, 2))


def low_rank() -> nn.Module:
    return Function(
        lambda m, x: torch.tanh(F.linear(x, m.w + m.b @ m.a)) @ m.out,
        w=parameter(4, 3),
        a=parameter(2, 3),
        b=parameter(4, 2),
        out=parameter(4, 2),
    )


def padded_lookup() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.out(torch.tanh(m.table(x).sum(1) + m.other[x].prod(1)))

    return Function(forward, table=nn.Embedding(6, 3, padding_idx=2), other=parameter(6, 3), out=nn.Linear(3, 2))


def in_place() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 2, 4)
        h[:, 0] = m.first(x)
        h[:, 1] += h[:, 0].tanh()
        return m.out(h.flatten(1))

    return Function(forward, first=nn.Linear(3, 4), out=nn.Linear(8, 2))


def distances() -> nn.Module:
    """PyTorch's batching rule for the backward pass of `cdist` is wrong, and so is that for `roll` of a number."""

    def forward(m: Any, x: Tensor) -> Tensor:
        d = torch.cdist(m.first(x)[:, None], m.centres)[:, 0]
        return d * torch.stack([row.sum().roll(2) for row in d])[:, None]

    return Function(forward, first=nn.Linear(3, 4), centres=parameter(5, 4))


def strided_in_place() -> nn.Module:
    """No rule covers what is written to every other place."""

    def forward(m: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 8)
        h[:, ::2] = m.first(x)
        h[:, 1::2] += h[:, ::2].tanh()
        return m.out(h)

    return Function(forward, first=nn.Linear(3, 4), out=nn.Linear(8, 2))


class Reversed(torch.autograd.Function):
    """The identity, with a derivative that is not its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return -2 * gradient


def own_derivative() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.first(x)
        return m.out(Reversed.apply(h.tanh()) + h)

    return Function(forward, first=nn.Linear(3, 4), out=nn.Linear(4, 2))


def hooked() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.first(x).tanh()
        if h.requires_grad:
            h.register_hook(lambda gradient: 3 * gradient)
        return m.out(h)

    return Function(forward, first=nn.Linear(3, 4), out=nn.Linear(4, 2))


def branching() -> nn.Module:
    """Which way it goes depends on the numbers."""
    return Function(
        lambda m, x: m.out(m.first(x) if x.sum() > 0 else m.first(x).tanh()), first=nn.Linear(3, 4), out=nn.Linear(4, 2)
    )


MODULES = {
    "mlp": Small(mlp, (5,), {"0.weight": "dense", "0.bias": "bias", "4.weight": "dense"}),
    "linear_only": Small(linear_only, (2, 4), {"weight": "dense"}),
    "convnet": Small(
        convnet,
        (3, 9, 9),
        {"0.weight": "convolution", "1.weight": "scale", "4.weight": "convolution", "5.bias": "bias"},
    ),
    "conv_in_one_and_three_dimensions": Small(
        conv_in_one_and_three_dimensions, (2, 5), {"one.weight": "convolution", "three.weight": "convolution"}
    ),
    "transposed_convolution": Small(
        transposed_convolution, (2, 3, 3), {"0.weight": "convolution", "2.weight": "convolution"}
    ),
    "self_attention": Small(self_attention, (3, 8), {"attention.in_proj_weight": "dense", "token": "bias"}),
    "cross_attention": Small(cross_attention, (3, 4), {"attention.in_proj_weight": "dense", "norm.weight": "scale"}),
    "transformer": Small(
        transformer, (4,), {"table.weight": "embedding", "places": "bias", "norm.weight": "scale"}, rows=5
    ),
    "decoder": Small(decoder, (3, 4), {"block.self_attn.in_proj_weight": "dense", "block.norm1.weight": "scale"}),
    "recurrent": Small(recurrent, (3, 3), {"inner.weight": "dense", "again.weight": "dense", "inner.bias": "bias"}),
    "lstm": Small(lstm, (3, 3), {"lstm.weight_hh_l0": "dense", "lstm.bias_hh_l0": "bias"}),
    "einsum": Small(einsum, (2, 3), {"inner": "dense", "out": "dense", "shared": "dense"}),
    "tied": Small(tied, (4,)),
    "scaled_views": Small(
        scaled_views, (3,), {"w": "dense", "b": "bias", "s": "scale", "out": "dense", "divided": "fallback"}
    ),
    "multiplied_by_zero": Small(multiplied_by_zero, (3,)),
    "concatenated": Small(concatenated, (3,)),
    "weight_norm": Small(weight_norm, (3,), {"0.parametrizations.weight.original0": "fallback", "2.weight": "dense"}),
    "frozen_and_unused": Small(
        frozen_and_unused, (3,), {"gate.weight": "unused", "out.weight": "dense", "unused.weight": "unused"}
    ),
    "low_rank": Small(low_rank, (3,)),
    "padded_lookup": Small(padded_lookup, (4,), {"table.weight": "embedding", "other": "embedding"}, rows=6),
    "in_place": Small(in_place, (3,), {"first.weight": "dense", "out.weight": "dense"}),
    "distances": Small(distances, (3,), {"first.weight": "dense", "centres": "fallback"}),
    "strided_in_place": Small(strided_in_place, (3,), {"first.weight": "fallback"}),
    "own_derivative": Small(own_derivative, (3,), {"first.weight": "fallback"}),
    "hooked": Small(hooked, (3,), {"first.weight": "fallback"}),
    "branching": Small(branching, (3,), {"first.weight": "fallback"}),
}
