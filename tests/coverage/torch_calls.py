"""How PyTorch's operations are called: by name where it takes more than a tensor or a few sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Call = tuple[str, Callable[..., Any]]
"""The form of the tensor, and what makes the layer of its class, or calls the function with the tensor."""


def _positive(h: Tensor) -> Tensor:
    return h @ h.mT + torch.eye(h.shape[-1], dtype=h.dtype)


FORMS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "row": ((4,), lambda h: h),
    "unit": ((4,), torch.sigmoid),
    "above_one": ((4,), lambda h: 1 + h.abs()),
    "series": ((4, 6), lambda h: h),
    "image": ((4, 4, 4), lambda h: h),
    "volume": ((4, 4, 4, 4), lambda h: h),
    "matrix": ((3, 3), _positive),
}
"""By name: the shape of an example's numbers, and what they go through."""

_TENSORS = ("row", "image", "series", "volume", "unit", "above_one", "matrix")


def _generic() -> list[Call]:
    """Layers and functions alike: of a tensor alone, with sizes, with a second tensor."""
    arguments: Sequence[tuple[Any, ...]] = ((), (2,), (4, 4), (4, 4, 2), (2, 4))
    calls: list[Call] = []
    for args in arguments:
        for form in _TENSORS:
            calls.append((form, lambda op, *h, args=args: op(*h, *args)))
    for form in _TENSORS:
        calls.append((form, lambda op, h: op(h, h.detach() * 0.5, reduction="none")))
        calls.append((form, lambda op, h: op(h, 0.5 + h.detach())))
        calls.append((form, lambda op, h: op(h, h.flip(-1))))
        calls.append((form, lambda op: _Against(op(reduction="none"))))
        calls.append((form, lambda op: _Against(op())))
    return calls


GENERIC: Sequence[Call] = _generic()


def _weighted(shape: Sequence[int]) -> Tensor:
    return torch.linspace(-1, 1, int(torch.Size(shape).numel()), dtype=torch.float64).reshape(tuple(shape))


def _convolution(n: int, form: str) -> list[Call]:
    return [(form, lambda op, h: op(h, _weighted((4, 4, *[2] * n))))]


CALLS: dict[str, Sequence[Call]] = {
    "torch.nn.functional.conv1d": _convolution(1, "series"),
    "torch.nn.functional.conv2d": _convolution(2, "image"),
    "torch.nn.functional.conv3d": _convolution(3, "volume"),
    "torch.nn.functional.conv_transpose1d": _convolution(1, "series"),
    "torch.nn.functional.conv_transpose2d": _convolution(2, "image"),
    "torch.nn.functional.conv_transpose3d": _convolution(3, "volume"),
    "torch.nn.functional.linear": [("row", lambda op, h: op(h, _weighted((3, 4))))],
    "torch.nn.functional.bilinear": [("row", lambda op, h: op(h, h, _weighted((3, 4, 4))))],
    "torch.nn.functional.pad": [("image", lambda op, h: op(h, (1, 2)))],
    "torch.nn.functional.prelu": [("row", lambda op, h: op(h, _weighted((1,)) + 0.5))],
    "torch.nn.functional.threshold": [("row", lambda op, h: op(h, 0.1, 2.0))],
    "torch.nn.functional.layer_norm": [("row", lambda op, h: op(h, (4,)))],
    "torch.nn.functional.rms_norm": [("row", lambda op, h: op(h, (4,)))],
    "torch.nn.functional.group_norm": [("image", lambda op, h: op(h, 2))],
    "torch.nn.functional.batch_norm": [("image", lambda op, h: op(h, h.new_zeros(4), h.new_ones(4)))],
    "torch.nn.functional.interpolate": [("image", lambda op, h: op(h, scale_factor=2, mode="bilinear"))],
    "torch.nn.functional.upsample": [("image", lambda op, h: op(h, scale_factor=2, mode="bilinear"))],
    "torch.nn.functional.upsample_bilinear": [("image", lambda op, h: op(h, scale_factor=2))],
    "torch.nn.functional.upsample_nearest": [("image", lambda op, h: op(h, scale_factor=2))],
    "torch.nn.functional.fold": [("image", lambda op, h: op(h.flatten(2), (5, 5), (2, 2)))],
    "torch.nn.functional.grid_sample": [
        ("image", lambda op, h: op(h, h[:, :2].tanh().movedim(1, -1), align_corners=False))],
    "torch.nn.functional.affine_grid": [("series", lambda op, h: op(h[:, :2, :3], (len(h), 1, 3, 3)))],
    "torch.nn.functional.scaled_dot_product_attention": [("series", lambda op, h: op(h, h, h))],
    "torch.nn.functional.cross_entropy": [
        ("row", lambda op, h: op(h, torch.ones(len(h), dtype=torch.int64), reduction="none"))],
    "torch.nn.functional.nll_loss": [
        ("row", lambda op, h: op(h, torch.ones(len(h), dtype=torch.int64), reduction="none"))],
    "torch.nn.functional.embedding": [("row", lambda op, h: h * op(torch.arange(4), _weighted((5, 1)))[:, 0])],
    "torch.nn.functional.triplet_margin_loss": [
        ("row", lambda op, h: op(h, h + 1, h.flip(1), reduction="none"))],
    "torch.nn.functional.gaussian_nll_loss": [
        ("row", lambda op, h: op(h, torch.ones_like(h), 1 + h**2, reduction="none"))],
    "torch.linalg.solve": [("matrix", lambda op, h: op(h, h[..., :1] ** 2))],
    "torch.linalg.solve_ex": [("matrix", lambda op, h: op(h, h[..., :1] ** 2))],
    "torch.linalg.solve_triangular": [("matrix", lambda op, h: op(h, h[..., :1] ** 2, upper=True))],
    "torch.linalg.lstsq": [("matrix", lambda op, h: op(h, h[..., :1] ** 2))],
    "torch.linalg.lu_solve": [("matrix", lambda op, h: op(*torch.linalg.lu_factor(h), h[..., :1] ** 2))],
    "torch.linalg.householder_product": [("matrix", lambda op, h: op(h, h[..., 0]))],
    "torch.linalg.ldl_solve": [("matrix", lambda op, h: op(*torch.linalg.ldl_factor(h), h[..., :1] ** 2))],
    "torch.linalg.matrix_power": [("matrix", lambda op, h: op(h, 3))],
    "torch.linalg.multi_dot": [("matrix", lambda op, h: torch.stack([op([e, e, e]) for e in h]))],
    "torch.linalg.eig": [("matrix", lambda op, h: op(h + h.new_ones(3, 3).triu(1))[0])],
    "torch.linalg.eigvals": [("matrix", lambda op, h: op(h + h.new_ones(3, 3).triu(1)))],
    "torch.linalg.svd": [("matrix", lambda op, h: op(h)[1])],
    "torch.special.polygamma": [("above_one", lambda op, h: op(1, h))],
    "torch.special.multigammaln": [("above_one", lambda op, h: op(h, 2))],
    "torch.nn.MultiheadAttention": [
        ("series", lambda cls: _attention(cls))],
    "torch.nn.Transformer": [("series", lambda cls: _twice(cls(6, 2, 1, 1, 5, batch_first=True)))],
    "torch.nn.TransformerDecoder": [
        ("series", lambda cls: _twice(cls(torch.nn.TransformerDecoderLayer(6, 2, 5, batch_first=True), 1)))],
    "torch.nn.TransformerDecoderLayer": [("series", lambda cls: _twice(cls(6, 2, 5, batch_first=True)))],
    "torch.nn.TransformerEncoder": [
        ("series", lambda cls: cls(torch.nn.TransformerEncoderLayer(6, 2, 5, batch_first=True), 1))],
    "torch.nn.TransformerEncoderLayer": [("series", lambda cls: cls(6, 2, 5, batch_first=True))],
    "torch.nn.Bilinear": [("row", lambda cls: _twice(cls(4, 4, 3)))],
    "torch.nn.Fold": [("image", lambda cls: torch.nn.Sequential(torch.nn.Flatten(2), cls((5, 5), (2, 2))))],
    **{f"torch.nn.{kind}": [("series", lambda cls: cls(6, 4, batch_first=True))] for kind in ("RNN", "LSTM", "GRU")},
    **{f"torch.nn.functional.{kind}dropout{n}": [("image", lambda op, h: op(h, training=False))]
       for kind in ("", "alpha_", "feature_alpha_") for n in ("", "1d", "2d", "3d")},
    "torch.nn.functional.embedding_bag": [
        ("row", lambda op, h: h * op(torch.arange(4)[None], _weighted((5, 4))))],
    "torch.nn.ConstantPad2d": [("image", lambda cls: cls(1, 0.5))],
    "torch.nn.ConstantPad3d": [("volume", lambda cls: cls(1, 0.5))],
    "torch.nn.ZeroPad2d": [("image", lambda cls: cls(1))],
    "torch.nn.ZeroPad3d": [("volume", lambda cls: cls(1))],
    "torch.nn.Unflatten": [("row", lambda cls: cls(1, (2, 2)))],
    "torch.nn.CosineSimilarity": [("row", lambda cls: _Against(cls()))],
    "torch.nn.PairwiseDistance": [("row", lambda cls: _Against(cls()))],
    "torch.nn.CrossEntropyLoss": [("row", lambda cls: _Against(cls(reduction="none"), classes=True))],
    "torch.nn.NLLLoss": [("row", lambda cls: _Against(cls(reduction="none"), classes=True))],
    "torch.nn.MultiMarginLoss": [("row", lambda cls: _Against(cls(reduction="none"), classes=True))],
    "torch.nn.functional.multi_margin_loss": [
        ("row", lambda op, h: op(h, torch.ones(len(h), dtype=torch.int64), reduction="none"))],
    "torch.linalg.tensorinv": [("matrix", lambda op, h: torch.stack([op(e, ind=1) for e in h]))],
    "torch.linalg.tensorsolve": [("matrix", lambda op, h: torch.stack([op(e, e[0]) for e in h]))],
    "torch.special.zeta": [("above_one", lambda op, h: op(2.0, h))],
    "torch.nn.LayerNorm": [("row", lambda cls: cls(4))],
    "torch.nn.Embedding": [("row", lambda cls: _looked_up(cls(5, 4)))],
    "torch.nn.Upsample": [("image", lambda cls: cls(scale_factor=2, mode="bilinear"))],
    "torch.nn.Threshold": [("row", lambda cls: cls(0.1, 2.0))],
}


class _Against(torch.nn.Module):
    """A loss, or a distance, to numbers that are no function of the parameters. `classes`: to a class."""

    def __init__(self, loss: torch.nn.Module, *, classes: bool = False) -> None:
        super().__init__()
        self.loss, self.classes = loss, classes

    def forward(self, h: Tensor) -> Any:
        return self.loss(h, torch.ones(len(h), dtype=torch.int64) if self.classes else 0.5 * h.detach())


class _Twice(torch.nn.Module):
    """A layer of two tensors, given one twice."""

    def __init__(self, layer: torch.nn.Module, times: int) -> None:
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, h: Tensor) -> Any:
        return self.layer(*[h] * self.times)


def _twice(layer: torch.nn.Module) -> torch.nn.Module:
    return _Twice(layer, 2)


def _attention(cls: Any) -> torch.nn.Module:
    return _Twice(cls(6, 2, batch_first=True), 3)


class _LookedUp(torch.nn.Module):
    """The rows of a table, added to what comes in."""

    def __init__(self, table: torch.nn.Module) -> None:
        super().__init__()
        self.table = table

    def forward(self, h: Tensor) -> Tensor:
        return h[:, None] + self.table(torch.arange(5)) ** 2


def _looked_up(table: torch.nn.Module) -> torch.nn.Module:
    return _LookedUp(table)


_CONTAINER = "a container, which computes nothing by itself"

NOT_TRIED: dict[str, str] = {
    **{f"torch.nn.{name}": _CONTAINER for name in
       ("Container", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential")},
    **{f"torch.nn.functional.{name}": "decides how something else is called" for name in
       ("assert_int_or_pair", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
        "handle_torch_function", "boolean_dispatch")},
    "torch.nn.functional.gumbel_softmax": "draws at random: it has no kernel",
    "torch.nn.functional.one_hot": "of integers: it has no derivative",
    "torch.nn.functional.multi_head_attention_forward": "is what torch.nn.MultiheadAttention calls",
}
"""Why not."""

