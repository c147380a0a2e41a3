"""Operations that do several things at once, written down as the simpler ones that the rules know.

A bias inside a product becomes a sum, the affine part of a normalisation a product and a sum, a split several slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from impls.frameworks.torch.internals import OpOverload
from impls.programs.program import Operand, Value
from impls.programs.torch.program import Untraceable

aten = torch.ops.aten

Number = int | float

IDENTITIES = ("detach", "alias", "lift_fresh", "lift", "positive")


@runtime_checkable
class Writer(Protocol):
    """Where operations are written down."""

    def emit(self, op: OpOverload, *args: Any, **kwargs: Any) -> Any: ...

    def device(self, operand: Operand) -> torch.device: ...


def rewritten(to: Writer, op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Emit what stands for `op`; gives its value or values, or None where `op` is simple enough."""
    name = op.name().removeprefix("aten::").split(".")[0]
    if name in IDENTITIES and isinstance(args[0], Value):
        return args[0]
    rule = REWRITES.get(name)
    return None if rule is None else rule(to, op, *args, **kwargs)


def _addmm(
    to: Writer, op: OpOverload, added: Operand, left: Operand, right: Operand, *, beta: Number = 1, alpha: Number = 1
) -> Value:
    product = aten.mm if op.overloadpacket is aten.addmm else aten.bmm
    return _sum(to, _times(to, to.emit(product.default, left, right), alpha), _times(to, added, beta))


def _mv(to: Writer, op: OpOverload, matrix: Operand, vector: Operand) -> Value:
    return to.emit(aten.squeeze.dim, to.emit(aten.mm.default, matrix, to.emit(aten.unsqueeze.default, vector, 1)), 1)


def _addmv(
    to: Writer, op: OpOverload, added: Operand, matrix: Operand, vector: Operand, *, beta: Number = 1, alpha: Number = 1
) -> Value:
    return _sum(to, _times(to, _mv(to, op, matrix, vector), alpha), _times(to, added, beta))


def _convolution(
    to: Writer, op: OpOverload, x: Operand, weight: Operand, bias: Operand | None, *rest: Any
) -> Value | None:
    if bias is None:
        return None
    return _sum(to, to.emit(op, x, weight, None, *rest), _along_channels(to, bias, len(x.shape)))


def _layer_norm(
    to: Writer, op: OpOverload, x: Operand, shape: Any, weight: Operand | None, bias: Operand | None, eps: Number
) -> Sequence[Operand] | None:
    if weight is None and bias is None:
        return None
    y, *statistics = to.emit(op, x, shape, None, None, eps)
    return (_affine(to, y, weight, bias), *statistics)


def _group_norm(
    to: Writer, op: OpOverload, x: Operand, weight: Operand | None, bias: Operand | None, *rest: Any
) -> Sequence[Operand]:
    """The one normalisation that asks for an order of memory, which `_clone` does not keep."""
    ordered = to.emit(aten.contiguous.default, x)
    return _by_channel(to, op, ordered, weight, bias, *rest) or to.emit(op, ordered, weight, bias, *rest)


def _by_channel(
    to: Writer, op: OpOverload, x: Operand, weight: Operand | None, bias: Operand | None, *rest: Any
) -> Sequence[Operand] | None:
    """One scale and one bias for each channel."""
    if weight is None and bias is None:
        return None
    y, *statistics = to.emit(op, x, None, None, *rest)
    n = len(x.shape)
    return (
        _affine(to, y, weight and _along_channels(to, weight, n), bias and _along_channels(to, bias, n)),
        *statistics,
    )


def _batch_norm(
    to: Writer,
    op: OpOverload,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    mean: Operand | None,
    variance: Operand | None,
    *rest: Any,
) -> Sequence[Operand] | None:
    """With running statistics, known numbers are subtracted and multiplied by; without, as the other normalisations."""
    training = rest[0] if len(rest) == 3 else False
    if training or mean is None or variance is None:
        return _by_channel(to, op, x, weight, bias, mean, variance, *rest)
    n = len(x.shape)
    inverse = to.emit(aten.rsqrt.default, to.emit(aten.add.Tensor, variance, rest[-1]))
    centred = to.emit(aten.sub.Tensor, x, _along_channels(to, mean, n))
    y = to.emit(aten.mul.Tensor, centred, _along_channels(to, inverse, n))
    return (
        _affine(to, y, weight and _along_channels(to, weight, n), bias and _along_channels(to, bias, n)),
        mean,
        inverse,
    )


def _batch_norm_without_statistics(
    to: Writer, op: OpOverload, x: Operand, weight: Operand | None, bias: Operand | None, *rest: Any
) -> Sequence[Operand] | None:
    """Instance normalisation: the channels of all examples side by side; other operations of that name have
    statistics."""
    if op is not aten._native_batch_norm_legit.no_stats:
        return None
    return _by_channel(to, op, x, weight, bias, *rest)


def _prelu(to: Writer, op: OpOverload, x: Operand, slope: Operand) -> Value:
    negative = to.emit(aten.mul.Tensor, to.emit(aten.clamp_max.default, x, 0), slope)
    return _sum(to, to.emit(aten.relu.default, x), negative)


def _rrelu(
    to: Writer,
    op: OpOverload,
    x: Operand,
    noise: Operand,
    lower: Number = 1 / 8,
    upper: Number = 1 / 3,
    training: bool = False,
    *_: Any,
) -> Value:
    """In evaluation; the mean slope."""
    return to.emit(aten.leaky_relu.default, x, (lower + upper) / 2)


def _trilinear(
    to: Writer, op: OpOverload, left: Operand, weight: Operand, right: Operand, *rest: Any
) -> Value | None:
    """As `torch.nn.functional.bilinear` calls it: y[n, k] = Σ_ij left[n, i] weight[k, i, j] right[n, j]."""
    if [list(axes) for axes in rest[:4]] != [[1, 3], [0], [1, 2], [2, 3]]:
        return None
    column, row = to.emit(aten.unsqueeze.default, left, 2), to.emit(aten.unsqueeze.default, right, 1)
    pairs = to.emit(aten.mul.Tensor, column, row)
    flat = to.emit(aten.reshape.default, pairs, [pairs.shape[0], math.prod(pairs.shape[1:])])
    matrix = to.emit(aten.reshape.default, weight, [weight.shape[0], math.prod(weight.shape[1:])])
    return to.emit(aten.mm.default, flat, _t(to, op, matrix))


def _rms_norm(
    to: Writer, op: OpOverload, x: Operand, shape: Sequence[int], weight: Operand | None, eps: Number | None
) -> Sequence[Value]:
    assert isinstance(x, Value)
    axes = list(range(-len(shape), 0))
    mean = to.emit(aten.mean.dim, to.emit(aten.mul.Tensor, x, x), axes, True)
    small = torch.finfo(x.dtype).eps if eps is None else eps
    inverse = to.emit(aten.rsqrt.default, to.emit(aten.add.Tensor, mean, small))
    return _affine(to, to.emit(aten.mul.Tensor, x, inverse), weight, None), inverse


def _weight_norm(to: Writer, op: OpOverload, direction: Operand, length: Operand, axis: int = 0) -> Sequence[Value]:
    others = [i for i in range(len(direction.shape)) if i != axis]
    norm = to.emit(
        aten.sqrt.default, to.emit(aten.sum.dim_IntList, to.emit(aten.mul.Tensor, direction, direction), others, True)
    )
    return to.emit(aten.mul.Tensor, direction, to.emit(aten.div.Tensor, length, norm)), norm


def _split(to: Writer, op: OpOverload, x: Operand, sizes: int | Sequence[int], dim: int = 0) -> Sequence[Value]:
    n = x.shape[dim]
    if isinstance(sizes, int):
        sizes = [min(sizes, n - start) for start in range(0, n, sizes)]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(
        to.emit(aten.slice.Tensor, x, dim, start, start + size) for start, size in zip(starts, sizes, strict=True)
    )


def _unbind(to: Writer, op: OpOverload, x: Operand, dim: int = 0) -> Sequence[Value]:
    return tuple(to.emit(aten.select.int, x, dim, i) for i in range(x.shape[dim]))


def _stack(to: Writer, op: OpOverload, tensors: Sequence[Operand], dim: int = 0) -> Value:
    dim = dim % (len(tensors[0].shape) + 1)
    return to.emit(aten.cat.default, [to.emit(aten.unsqueeze.default, t, dim) for t in tensors], dim)


def _view(to: Writer, op: OpOverload, x: Operand, shape: Any) -> Value | None:
    """The strides may be others when the program runs."""
    return None if isinstance(shape, torch.dtype) else to.emit(aten.reshape.default, x, list(shape))


def _t(to: Writer, op: OpOverload, x: Operand) -> Value:
    return to.emit(aten.permute.default, x, list(reversed(range(len(x.shape)))))


def _transpose(to: Writer, op: OpOverload, x: Operand, first: int, second: int) -> Value:
    axes = list(range(len(x.shape)))
    axes[first], axes[second] = axes[second], axes[first]
    return to.emit(aten.permute.default, x, axes)


def _permute(to: Writer, op: OpOverload, x: Operand, axes: Sequence[int]) -> Value:
    return to.emit(op, x, [axis % len(x.shape) for axis in axes])


def _clone(to: Writer, op: OpOverload, x: Operand, **_: Any) -> Operand | None:
    """Nothing is changed in place, so a copy is as good as what it copies."""
    return x if isinstance(x, Value) else None


def _roll(to: Writer, op: OpOverload, x: Operand, *_: Any) -> Operand | None:
    """A number stays where it is; of a batch of numbers a batching rule would roll the examples."""
    return None if x.shape or not isinstance(x, Value) else x


def _select_scatter(to: Writer, op: OpOverload, x: Operand, source: Operand, dim: int, index: int) -> Value:
    return _between(to, x, to.emit(aten.unsqueeze.default, source, dim), dim, index % x.shape[dim])


def _slice_scatter(
    to: Writer,
    op: OpOverload,
    x: Operand,
    source: Operand,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    if step != 1:
        raise Untraceable("every other place of a tensor is changed in place")
    return _between(to, x, source, dim, slice(start, end).indices(x.shape[dim])[0])


def _strided(to: Writer, op: OpOverload, *args: Any, **kwargs: Any) -> Value:
    """It depends on how the tensor lies in memory, which need not be so when the program runs."""
    raise Untraceable(f"{op} addresses memory itself")


def _conjugate(to: Writer, op: OpOverload, x: Operand) -> Value:
    """Now, and not when it is read, in pairs of real numbers: there is no batching rule for it."""
    if not x.dtype.is_complex:
        return to.emit(aten.alias.default, x)
    pairs = to.emit(aten.view_as_real.default, x)
    real, imaginary = (to.emit(aten.slice.Tensor, pairs, len(x.shape), i, i + 1) for i in (0, 1))
    turned = to.emit(aten.cat.default, [real, to.emit(aten.neg.default, imaginary)], len(x.shape))
    return to.emit(aten.view_as_complex.default, turned)


def _negative(to: Writer, op: OpOverload, x: Operand) -> Value:
    return to.emit(aten.neg.default, x)


def _between(to: Writer, x: Operand, source: Operand, dim: int, start: int) -> Value:
    """x with `source` in place of what it has from `start` on, without an operation in place."""
    n, stop = x.shape[dim], start + source.shape[dim]
    before = [to.emit(aten.slice.Tensor, x, dim, 0, start)] if start > 0 else []
    after = [to.emit(aten.slice.Tensor, x, dim, stop, n)] if stop < n else []
    return to.emit(aten.cat.default, [*before, source, *after], dim)


def _copy(to: Writer, op: OpOverload, x: Operand, source: Operand, *_: Any) -> Value:
    assert isinstance(x, Value)
    return to.emit(aten.expand.default, to.emit(aten._to_copy.default, source, dtype=x.dtype), list(x.shape))


def _add(to: Writer, op: OpOverload, left: Any, right: Any, *, alpha: Number = 1) -> Value | None:
    return None if alpha == 1 else to.emit(op, left, _times(to, right, alpha))


def _rsub(to: Writer, op: OpOverload, left: Any, right: Any, alpha: Number = 1) -> Value:
    return to.emit(aten.add.Tensor, _times(to, left, -alpha), right)


def _addcmul(to: Writer, op: OpOverload, added: Operand, left: Operand, right: Operand, *, value: Number = 1) -> Value:
    return _sum(to, added, _times(to, to.emit(aten.mul.Tensor, left, right), value))


def _affine(to: Writer, y: Value, weight: Operand | None, bias: Operand | None) -> Value:
    scaled = y if weight is None else to.emit(aten.mul.Tensor, y, weight)
    return scaled if bias is None else _sum(to, scaled, bias)


def _along_channels(to: Writer, vector: Operand, n_axes: int) -> Value:
    return to.emit(aten.reshape.default, vector, [math.prod(vector.shape)] + [1] * (n_axes - 2))


def _times(to: Writer, value: Any, number: Number) -> Any:
    return value if number == 1 else to.emit(aten.mul.Tensor, value, number)


def _sum(to: Writer, left: Operand, right: Operand) -> Value:
    return to.emit(aten.add.Tensor, left, right)


REWRITES: dict[str, Callable[..., Any]] = {
    "addmm": _addmm, "baddbmm": _addmm, "mv": _mv, "addmv": _addmv,
    "convolution": _convolution,
    "native_layer_norm": _layer_norm, "native_group_norm": _group_norm,
    "native_batch_norm": _batch_norm, "_native_batch_norm_legit_no_training": _batch_norm,
    "_native_batch_norm_legit": _batch_norm_without_statistics,
    "_prelu_kernel": _prelu, "rrelu_with_noise": _rrelu, "_trilinear": _trilinear,
    "_fused_rms_norm": _rms_norm, "_weight_norm_interface": _weight_norm,
    "split": _split, "split_with_sizes": _split, "unsafe_split": _split, "unsafe_split_with_sizes": _split,
    "unbind": _unbind, "stack": _stack,
    "view": _view, "_unsafe_view": _view, "t": _t, "transpose": _transpose, "permute": _permute, "clone": _clone,
    "copy": _copy, "roll": _roll, "select_scatter": _select_scatter, "slice_scatter": _slice_scatter,
    "as_strided_scatter": _strided, "_conj": _conjugate, "_neg_view": _negative,
    "add": _add, "sub": _add, "rsub": _rsub, "addcmul": _addcmul,
}  # fmt: skip
