"""One small network for each kind of layer of PyTorch, and for each odd way that a function may be written.

`tests.impls.structured.modules` has those that exercise the engine's own rules. Here every parameter that falls back,
and none else, is named in `rules` with "fallback".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from tests.impls.structured.modules import Function, Small, parameter

Forward = Callable[[Any, Tensor], Tensor]


def _sequence(*layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Made anew at each call, for their numbers are drawn when they are made."""
    return lambda: nn.Sequential(*(layer() for layer in layers))


def _function(forward: Forward, **parts: Callable[[], Any]) -> Callable[[], nn.Module]:
    return lambda: Function(forward, **{name: part() for name, part in parts.items()})


def _linear(n: int, m: int) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(n, m)


def _image_head(n: int) -> tuple[Callable[[], nn.Module], ...]:
    return nn.Tanh, nn.Flatten, _linear(n, 2)


def _masked(m: Any, x: Tensor) -> Tensor:
    h = m.l(x).clone()
    h[x > 0] = 0.5
    return h


def _written_to(m: Any, x: Tensor) -> Tensor:
    h = x.new_zeros(len(x), 5)
    h[:, [0, 3, 4]] = m.l(x)
    h.mul_(2)
    return h


def _derivative(m: Any, x: Tensor) -> Tensor:
    """Of the network in its input, by the autograd of old."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(m.out(m.l(x).tanh()).sum(), x, create_graph=True)
    return g


def _adapted(m: Any, x: Tensor) -> Tensor:
    """After one step of gradient descent."""
    with torch.enable_grad():
        (g,) = torch.autograd.grad(((x @ m.w).tanh() @ m.v).pow(2).sum(), m.w, create_graph=True)
    return (x @ (m.w - 0.1 * g)).tanh() @ m.v


def _recurrent(layer: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return _function(lambda m, x: m.r(x)[0][:, -1], r=layer)


def _bag(mode: str, padding: int | None = None) -> Callable[[], nn.Module]:
    bag = lambda: nn.EmbeddingBag(6, 3, mode=mode, padding_idx=padding)  # noqa: E731
    return _function(lambda m, x: m.out(m.table(x)), table=bag, out=_linear(3, 2))


def _attention(**options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.MultiheadAttention(4, 2, **options)


def _attended(m: Any, x: Tensor, **options: Any) -> Tensor:
    q, k, v = (each(x)[:, None] for each in (m.q, m.k, m.v))
    return F.scaled_dot_product_attention(q, k, v, **options).flatten(1)[:, ::3]


PROJECTIONS = {"q": _linear(4, 4), "k": _linear(4, 4), "v": _linear(4, 4)}
PADDED = torch.tensor([[False, True, False]])

LAYERS = {
    # attention
    "encoder": Small(_function(lambda m, x: m.e(x).mean(1), e=lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2, enable_nested_tensor=False)), (3, 4)),
    "encoder_decoder": Small(_function(lambda m, x: m.t(x, x.flip(1)).mean(1),
                                       t=lambda: nn.Transformer(4, 2, 1, 1, 8, batch_first=True)), (3, 4)),
    "causal_attention": Small(_function(lambda m, x: _attended(m, x, is_causal=True), **PROJECTIONS), (3, 4)),
    "masked_attention": Small(_function(lambda m, x: _attended(
        m, x, attn_mask=torch.ones(3, 3, dtype=torch.bool).tril()), **PROJECTIONS), (3, 4)),
    "attention_padded": Small(_function(lambda m, x: m.a(
        x, x, x, key_padding_mask=PADDED.expand(len(x), -1))[0].mean(1), a=_attention(batch_first=True)), (3, 4)),
    "attention_other_widths": Small(_function(lambda m, x: m.a(x, x[..., :2], x[..., :3])[0].mean(1), a=_attention(
        batch_first=True, kdim=2, vdim=3, add_bias_kv=True, add_zero_attn=True)), (3, 4)),
    "attention_time_first": Small(_function(lambda m, x: m.a(*[x.transpose(0, 1)] * 3)[0].mean(0), a=_attention()),
                                  (3, 4)),
    # recurrence
    "gru": Small(_recurrent(lambda: nn.GRU(3, 2, 2, batch_first=True)), (3, 3), {"r.weight_hh_l1": "dense"}),
    "rnn": Small(_recurrent(lambda: nn.RNN(3, 2, batch_first=True, bidirectional=True)), (3, 3)),
    "lstm_projected": Small(_recurrent(lambda: nn.LSTM(3, 4, batch_first=True, proj_size=2)), (3, 3)),
    "gru_cell": Small(_function(lambda m, x: m.r(x, m.r(x)), r=lambda: nn.GRUCell(3, 2)), (3,)),
    # embedding
    "bag_mean": Small(_bag("mean"), (4,), {"table.weight": "fallback"}, rows=6),
    "bag_padded": Small(_bag("sum", 1), (4,), {"table.weight": "fallback"}, rows=6),
    "embedding_by_frequency": Small(_function(lambda m, x: m.out(m.t(x).sum(1)), t=lambda: nn.Embedding(
        6, 3, scale_grad_by_freq=True), out=_linear(3, 2)), (4,), {"t.weight": "fallback"}, rows=6),
    "embedding_clipped": Small(_function(lambda m, x: m.out(m.t(x).sum(1)), t=lambda: nn.Embedding(
        6, 3, max_norm=9.0), out=_linear(3, 2)), (4,), {"t.weight": "fallback", "out.weight": "fallback"}, rows=6),
    "embedding_transposed": Small(_function(lambda m, x: F.embedding(x, m.w.T).sum(1), w=lambda: parameter(2, 6)),
                                  (4,), rows=6),
    "rows_of_a_tied_table": Small(_function(lambda m, x: F.linear(m.t(x).sum(1).tanh(), m.t.weight[:2]),
                                            t=lambda: nn.Embedding(6, 3)), (4,), {"t.weight": "fallback"}, rows=6),
    # convolution
    "transposed_1d": Small(_sequence(lambda: nn.ConvTranspose1d(2, 4, 3, 2, 1, 1, groups=2), *_image_head(24)), (2, 3),
                           {"0.weight": "convolution"}),
    "transposed_3d": Small(_sequence(lambda: nn.ConvTranspose3d(2, 2, 2, dilation=2), *_image_head(128)), (2, 2, 2, 2)),
    "transposed_last": Small(_sequence(lambda: nn.ConvTranspose1d(2, 2, 2, 2), nn.Flatten), (2, 2)),
    "transposed_overlapping": Small(_sequence(lambda: nn.ConvTranspose1d(2, 2, 2, 2, 1, 1, dilation=2), nn.Flatten),
                                    (2, 2)),
    "transposed_twice": Small(_function(lambda m, x: F.conv_transpose1d(F.conv_transpose1d(
        x, m.w, m.b, stride=2).tanh(), m.w, m.b, padding=1, dilation=2).flatten(1)[:, :7],
        w=lambda: parameter(2, 2, 3), b=lambda: parameter(2)), (2, 3)),
    "encoder_and_its_transpose": Small(_function(lambda m, x: F.conv_transpose2d(
        F.conv2d(x, m.w).tanh(), m.w).flatten(1)[:, :5], w=lambda: parameter(3, 2, 2, 2)), (2, 3, 3),
        {"w": "fallback"}),
    "circular": Small(_sequence(lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), *_image_head(48)),
                      (2, 4, 4), {"0.weight": "fallback"}),
    "strided_3d": Small(_sequence(lambda: nn.Conv3d(2, 4, 2, 2, 1, groups=2), lambda: nn.BatchNorm3d(4), nn.ELU,
                                  lambda: nn.AvgPool3d(2), nn.Flatten), (2, 4, 4, 4)),
    "depthwise": Small(_sequence(lambda: nn.Conv2d(3, 6, 3, groups=3), nn.ReLU6, lambda: nn.Conv2d(6, 2, 1),
                                 nn.Flatten), (3, 4, 4)),
    "upsampled": Small(_sequence(lambda: nn.Conv2d(2, 4, 2), lambda: nn.PixelShuffle(2), lambda: nn.Upsample(
        scale_factor=2, mode="bilinear"), nn.Flatten, _linear(64, 2)), (2, 3, 3)),
    # normalisation
    "instance_norm": Small(_sequence(lambda: nn.Conv2d(2, 4, 2), lambda: nn.InstanceNorm2d(4, affine=True),
                                     *_image_head(16)), (2, 3, 3), {"1.weight": "scale"}),
    "instance_norm_running": Small(_sequence(lambda: nn.Conv1d(2, 4, 2), lambda: nn.InstanceNorm1d(
        4, affine=True, track_running_stats=True), *_image_head(8)), (2, 3)),
    "layer_norm_of_two_axes": Small(_sequence(_linear(4, 4), lambda: nn.LayerNorm([3, 4]), *_image_head(12)), (3, 4)),
    "rms_norm": Small(_sequence(_linear(4, 6), lambda: nn.RMSNorm(6, eps=1e-3), nn.GLU, _linear(3, 2)), (4,)),
    "batch_norm": Small(_sequence(_linear(3, 4), lambda: nn.BatchNorm1d(4, affine=False), nn.Mish, _linear(4, 2)),
                        (3,)),
    "spectral_norm": Small(_sequence(lambda: parametrizations.spectral_norm(nn.Linear(3, 4)), nn.Tanh, _linear(4, 2)),
                           (3,), {"0.parametrizations.weight.original": "fallback"}),
    "weight_norm_of_a_convolution": Small(_sequence(lambda: parametrizations.weight_norm(nn.Conv2d(2, 3, 2)),
                                                    *_image_head(12)), (2, 3, 3),
                                          {f"0.parametrizations.weight.original{i}": "fallback" for i in (0, 1)}),
    # other layers
    "bilinear": Small(_function(lambda m, x: m.out(m.b(x, x.flip(-1)).tanh()).sum(1), b=lambda: nn.Bilinear(3, 3, 4),
                                out=_linear(4, 2)), (2, 3), {"b.weight": "dense"}),
    "prelu": Small(_sequence(_linear(3, 4), lambda: nn.PReLU(4), _linear(4, 2), nn.PReLU), (3,), {"1.weight": "scale"}),
    "adaptive_softmax": Small(_function(lambda m, x: m.a.log_prob(x), a=lambda: nn.AdaptiveLogSoftmaxWithLoss(
        4, 6, [2, 4], div_value=2.0)), (4,)),
    "dropped_out": Small(_sequence(_linear(3, 4), nn.Dropout, nn.AlphaDropout, _linear(4, 2)), (3,)),
    # products
    "quadratic_form": Small(_function(lambda m, x: torch.einsum("bi,ij,bj->b", x, m.w, x)[:, None],
                                      w=lambda: parameter(3, 3)), (3,), {"w": "dense"}),
    "tensor_of_rank_3": Small(_function(lambda m, x: torch.einsum("bi,ijk,bj->bk", x, m.w, x.tanh()),
                                        w=lambda: parameter(3, 3, 2)), (3,), {"w": "dense"}),
    "baddbmm": Small(_function(lambda m, x: torch.baddbmm(m.b, x[:, None].expand(-1, 2, -1), m.w.expand(
        len(x), -1, -1), beta=0.5, alpha=2.0).flatten(1), b=lambda: parameter(1, 2, 2), w=lambda: parameter(3, 2)),
        (3,)),
    "product_of_parameters": Small(_function(lambda m, x: x @ (m.a @ m.b) @ m.a, a=lambda: parameter(3, 2),
                                             b=lambda: parameter(2, 3)), (3,)),
    "overlapping_slices": Small(_function(lambda m, x: x @ m.w[:3] + x @ m.w[1:4], w=lambda: parameter(4, 2)), (3,),
                                {"w": "fallback"}),
    "disjoint_slices": Small(_function(lambda m, x: x @ m.w[:3] + (x @ m.w[3:]).tanh(), w=lambda: parameter(6, 2)),
                             (3,), {"w": "dense"}),
    "empty_slice": Small(_function(lambda m, x: torch.cat([x @ m.w[:, :0], x @ m.w], 1), w=lambda: parameter(3, 3)),
                         (3,)),
    "number": Small(_function(lambda m, x: m.l(x) * m.s + m.s, l=_linear(3, 2), s=lambda: parameter()), (3,),
                    {"s": "fallback"}),
    "compared": Small(_function(lambda m, x: torch.where(x @ m.a > 0, m.b, (x @ m.a) * m.c), a=lambda: parameter(3, 2),
                                b=lambda: parameter(2), c=lambda: parameter(2)), (3,), {"a": "dense", "b": "fallback"}),
    "solved": Small(_function(lambda m, x: torch.linalg.solve(
        m.a + 3 * torch.eye(3, dtype=x.dtype), x[..., None])[..., 0], a=lambda: parameter(3, 3)), (3,),
        {"a": "bias"}),
    # odd functions
    "written_to": Small(_function(_written_to, l=_linear(3, 3)), (3,), {"l.weight": "dense"}),
    "masked": Small(_function(_masked, l=_linear(3, 3)), (3,)),
    "checkpointed": Small(_function(lambda m, x: m.out(checkpoint(
        m.l, x, use_reentrant=False).tanh()), l=_linear(3, 4), out=_linear(4, 2)), (3,), {"l.weight": "dense"}),
    "derivative": Small(_function(_derivative, l=_linear(3, 4), out=_linear(4, 1)), (3,), {"l.weight": "fallback"}),
    "derivative_by_func": Small(_function(lambda m, x: torch.vmap(torch.func.grad(lambda e: m.l(e).tanh().sum()))(x),
                                          l=_linear(3, 4)), (3,), {"l.weight": "dense"}),
    "adapted": Small(_function(_adapted, w=lambda: parameter(3, 4), v=lambda: parameter(4, 2)), (3,),
                     {"w": "fallback"}),
    "selected_by_value": Small(_function(lambda m, x: torch.stack([e[e > 0].sum() for e in m.l(x)])[:, None],
                                         l=_linear(3, 4)), (3,), {"l.weight": "fallback"}),
}  # fmt: skip
