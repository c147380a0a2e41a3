"""Networks whose derivative is right only while their parameters stay in place: one operation that runs them again.

A backward pass may call the module once more: the adjoint of an ODE, a reversible network, `torch.utils.checkpoint`.
Then the values of the parameters have to be the module's until the backward pass has ended, and gradients have to be
accumulated as in training. `Rerun(f)` is f with such a backward pass, for every way of PyTorch's to ask for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impls.frameworks.torch.module import ModuleFunction


class Rerun(NamedTuple):
    """``f(params, x)`` for x of one tensor; `base` is the function of a module that f calls, if it does."""

    f: Callable[[Any, Any], Tensor]
    base: ModuleFunction | None

    def __call__(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        return _Run.apply(self, tuple(params), x, *params.values())  # pyright: ignore[reportReturnType]

    def pulled_back(self, params: dict[str, Tensor], x: Tensor, cotangent: Tensor) -> list[Tensor]:
        """The gradients of x and of each parameter as training would find them: in place, accumulated. Zeros where one
        is not used."""
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        x = x.detach().requires_grad_(x.is_floating_point())  # a reentrant checkpoint of its inputs alone needs it
        with torch.enable_grad(), nullcontext() if self.base is None else self.base.staying():
            y = self.f(leaves, x.clone())  # which a network may write into
            if y.requires_grad:
                torch.autograd.backward((y * cotangent.to(y.dtype)).sum())  # of a number: no import of sympy
        return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in (x, *leaves.values())]


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(rerun: Rerun, names: tuple[str, ...], x: Tensor, *values: Tensor) -> Tensor:
        with torch.no_grad():
            return rerun.f(dict(zip(names, values, strict=True)), x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.rerun, ctx.names, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        x, *values = ctx.saved_tensors
        found: Any = _Pull.apply(ctx.rerun, ctx.names, cotangents[0], x, *values)
        return None, None, found[0] if x.is_floating_point() else None, *found[1:]

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[Any], rerun: Rerun, names: tuple[str, ...], *tensors: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        each = [_Run.apply(rerun, names, *_at(i, tensors, in_dims[2:])) for i in range(info.batch_size)]
        return torch.stack(each), 0


class _Pull(torch.autograd.Function):
    """The backward pass of `_Run`, which is differentiated no further."""

    @staticmethod
    def forward(rerun: Rerun, names: tuple[str, ...], cotangent: Tensor, x: Tensor, *values: Tensor) -> Any:
        # In a thread of its own: within `torch.autograd.grad` PyTorch allows no reentrant checkpoint, not even in a
        # backward pass that begins there.
        with ThreadPoolExecutor(1) as apart:
            return tuple(apart.submit(rerun.pulled_back, dict(zip(names, values, strict=True)), x, cotangent).result())

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise NotImplementedError("the second derivative of a network that runs again in its backward pass")

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[Any], rerun: Rerun, names: tuple[str, ...], *tensors: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        each: Any = [_Pull.apply(rerun, names, *_at(i, tensors, in_dims[2:])) for i in range(info.batch_size)]
        return tuple(torch.stack(some) for some in zip(*each, strict=True)), (0,) * len(each[0])


def _at(i: int, tensors: Sequence[Tensor], dims: Sequence[int | None]) -> list[Tensor]:
    return [t if dim is None else t.select(dim, i) for t, dim in zip(tensors, dims, strict=True)]
