"""Small PyTorch modules with a product "last" whose cotangent is separable, and such whose is nearly so and is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.impls.structured.modules import Function, Small, parameter

Tail = Callable[[Any, Tensor], Tensor]


def images(tail: Tail, **parts: Callable[[], Any]) -> Small:
    """`tail` behind two convolutions, on (N, 6, 4, 3)."""

    def build() -> nn.Module:
        return Function(
            lambda m, x: tail(m, m.last(m.first(x).tanh())),
            first=nn.Conv2d(2, 4, 2),
            last=nn.Conv2d(4, 6, 3, padding=1),
            **{name: part() for name, part in parts.items()},
        )

    return Small(build, (2, 5, 4), {"last.weight": "convolution"})


def tokens(tail: Tail, **parts: Callable[[], Any]) -> Small:
    """`tail` behind two dense layers, on (N, 4, 6)."""

    def build() -> nn.Module:
        return Function(
            lambda m, x: tail(m, m.last(m.first(x).tanh())),
            first=nn.Linear(3, 5),
            last=nn.Linear(5, 6),
            **{name: part() for name, part in parts.items()},
        )

    return Small(build, (4, 3), {"last.weight": "dense"})


def vectors(tail: Tail, **parts: Callable[[], Any]) -> Small:
    """`tail` behind two dense layers, on (N, 6)."""
    small = tokens(lambda m, h: tail(m, h[:, 0]), **parts)
    return small._replace(example=(1, 3))


def pooled(h: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(h, 1).flatten(1)


def head() -> nn.Module:
    return nn.Linear(6, 3)


def inner() -> nn.Module:
    return nn.Linear(6, 6)


def six() -> nn.Parameter:
    return parameter(6)


def three() -> nn.Parameter:
    return parameter(3)


def residual(m: Any, h: Tensor) -> Tensor:
    """What is added is a function of earlier layers alone."""
    return m.head(pooled((m.norm(h) + m.first.bias.sum()).relu() * 2))


SEPARABLE = {
    "pool": images(lambda m, h: m.head(pooled(h.relu())), head=head),
    "pool_norm": images(
        lambda m, h: m.head(pooled(m.norm(h).relu())), head=head, norm=lambda: nn.BatchNorm2d(6)
    ),
    "pool_norm_behind": images(
        lambda m, h: m.head(pooled(m.norm(F.gelu(h)))), head=head, norm=lambda: nn.BatchNorm2d(6)
    ),
    "pool_residual": images(residual, head=head, norm=lambda: nn.BatchNorm2d(6)),
    "pool_in_two_steps": images(lambda m, h: m.head(-h.sin().mean(3).permute(0, 2, 1).sum(1) / 3), head=head),
    "pool_of_the_whole_image": images(lambda m, h: m.head(F.avg_pool2d(h.relu(), (4, 3)).flatten(1)), head=head),
    "pool_of_channels_too": images(lambda m, h: h.tanh().mean((1, 2, 3))[:, None] * m.weights, weights=three),
    "pool_of_products": images(
        lambda m, h: m.head(pooled(h.sigmoid() * h * m.places)), head=head, places=lambda: parameter(4, 3)
    ),
    "pool_of_what_is_gated": images(
        lambda m, h: m.head(pooled(h.tanh() * m.last.weight.sum().detach())), head=head
    ),
    "pool_before_two_heads": images(
        lambda m, h: torch.cat([m.head(p := pooled(h.relu())), m.head(p) * 3, m.other(p)[:, :1]], 1),
        head=head, other=head,
    ),
    "pool_before_linear_layers": images(lambda m, h: m.head(m.inner(pooled(h.relu()))), head=head, inner=inner),
    "pool_grouped": images(
        lambda m, h: m.head(pooled(m.grouped(h).relu())), head=head, grouped=lambda: nn.Conv2d(6, 6, 2, groups=2)
    ),
    "mean_of_tokens": tokens(lambda m, h: m.head(F.silu(h).mean(1)), head=head),
    "mean_of_turned_tokens": tokens(lambda m, h: m.head(h.mT.flatten(1).tanh().unflatten(1, (6, 4)).sum(2)), head=head),
    "vector": vectors(lambda m, h: m.head(h.relu()), head=head),
    "vector_scaled": vectors(lambda m, h: m.head(h.relu() * m.scale), head=head, scale=six),
    "vector_of_parts": vectors(lambda m, h: m.head(torch.where(h > 0, h, m.slope * h))[:, 1:], head=head, slope=six),
    "vector_prelu": vectors(lambda m, h: m.head(m.prelu(h)), head=head, prelu=lambda: nn.PReLU(6)),
}  # fmt: skip


NOT_SEPARABLE = {
    "pool_of_a_part": images(lambda m, h: m.head(pooled(h.relu()[:, :, 1:])), head=head),
    "pool_of_parts": images(lambda m, h: m.head(F.avg_pool2d(h.relu(), 2).sum((2, 3))), head=head),
    "pool_to_two_places": images(
        lambda m, h: m.head(F.adaptive_avg_pool2d(h.relu(), (2, 1)).transpose(1, 3).flatten(1)[:, 3:9]), head=head
    ),
    "pool_with_padding": images(lambda m, h: m.head(F.avg_pool2d(h.relu(), 4, padding=1).sum((2, 3))), head=head),
    "pool_of_the_largest": images(lambda m, h: m.head(h.amax((2, 3))), head=head),
    "weights_of_places": images(
        lambda m, h: m.head((h.relu().flatten(2) @ m.places).squeeze(2)), head=head, places=lambda: parameter(12, 1)
    ),
    "flat_head": images(lambda m, h: m.head(h.relu().flatten(1)), head=lambda: nn.Linear(72, 3)),
    "another_layer": images(lambda m, h: m.head(m.inner(pooled(h.relu())).relu()), head=head, inner=inner),
    "softmax": images(lambda m, h: m.head(pooled(h.relu())).softmax(1), head=head),
    "two_ways": images(lambda m, h: m.head(pooled(h.relu())) + m.other(pooled(h.tanh())), head=head, other=head),
    "two_ways_of_one": images(lambda m, h: m.head(pooled(h.relu() + h.flip(3).tanh())), head=head),
    "squeeze_and_excite": images(
        lambda m, h: m.head(pooled(h.tanh() * h.mean((2, 3), keepdim=True).sigmoid())), head=head
    ),
    "gated_by_the_example": vectors(lambda m, h: m.head(h.relu()) * h.detach()[:, :1], head=head),
    "layer_norm": tokens(lambda m, h: m.head(F.layer_norm(h, (6,)).mean(1)), head=head),
    "attention": tokens(lambda m, h: m.head((torch.softmax(h[:, :, 0], 1)[..., None] * h).mean(1)), head=head),
    "tied_head": vectors(lambda m, h: F.linear(h.relu(), m.last.weight.T)),
    "outputs_for_each_token": tokens(lambda m, h: m.head(h.relu()).flatten(1), head=head),
    "squared": vectors(lambda m, h: m.head(h.relu()).square(), head=head),
    "multiplied_with_itself": vectors(lambda m, h: m.head(h) * m.other(h), head=head, other=head),
}  # fmt: skip
