"""A user's PyTorch model in float64: reverse mode one example at a time, and both modes for all of them in a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from impls.frameworks.torch.bits import FewerBits
from impls.frameworks.torch.internals import tensors
from impls.frameworks.torch.support import Forward, Params, one_example, precision
from impls.networks.torch_case import functional
from reference import Case, Request

# What moves numbers and rounds none.
_EXACT = frozenset({"clone", "cat", "stack", "copy", "constant_pad_nd", "index", "index_select", "gather", "embedding",
                    "relu", "neg", "abs", "maximum", "minimum", "max_pool2d_with_indices", "repeat", "flip", "roll"})


class _Rounding(TorchDispatchMode):
    """Moves what every operation inside returns, forward and backward, by up to a unit in its last place.

    Values that float32 holds exactly because they are whole stay: masks, counts and positions.
    """

    def __init__(self, unit: float, seed: int) -> None:
        super().__init__()
        self.unit, self.generator = unit, torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        exact = func.overloadpacket.__name__ in _EXACT or any(r.alias_info is not None for r in func._schema.returns)
        reads = any(a.is_floating_point() for a in tensors(args))
        if exact or not reads:
            return result
        if isinstance(result, tuple | list):
            return type(result)(self.moved(part) for part in result)
        return self.moved(result)

    def moved(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
            return value
        if value.layout != torch.strided or not value.numel():
            return value
        unit = max(self.unit, torch.finfo(value.dtype).eps if value.dtype != torch.float64 else 0.0)
        size = torch.rand(value.shape, generator=self.generator, dtype=torch.float64).to(value.device)
        factors = 1 + unit * (2 * size - 1)
        if value.is_complex():
            return (value * factors).to(value.dtype)
        changed = (value.double() * factors).to(value.dtype)
        return torch.where(value == value.round(), value, changed)


@dataclass(frozen=True, eq=False)
class TorchProbe:
    """See `bench.truth.probe.Probe`."""

    f: Forward
    params: Params
    x1: Tensor
    x2: Tensor | None
    n_outputs: int
    unit: float = 0.0
    seed: int = 0
    in_batches: bool = True

    @classmethod
    def of(cls, case: Case) -> TorchProbe:
        f, params, x1, x2 = functional(case, Request(dtype="float64"))
        with precision("float64"), torch.no_grad():
            n_outputs = f(params, x1[:1]).numel()
        return cls(f, params, x1, x2, n_outputs)

    @property
    def same(self) -> bool:
        return self.x2 is None

    @property
    def n_params(self) -> int:
        return sum(p.numel() for p in self.params.values())

    def examples(self, which: int, some: Sequence[int] | None = None) -> Tensor:
        x = self.x1 if which == 1 or self.x2 is None else self.x2
        return x if some is None else x[list(some)]

    def values(self, x: Tensor, step: np.ndarray | None = None) -> np.ndarray:
        params = self.params
        if step is not None:
            params = {name: p + d for (name, p), d in zip(params.items(), self._split(step).values(), strict=True)}
        with precision("float64"), torch.no_grad():
            return self.f(params, x).reshape(len(x), -1).double().numpy()

    def jacobian(self, x: Tensor, outputs: Sequence[int]) -> np.ndarray:
        return np.stack([self._one(example, outputs) for example in x])

    def vjp(self, x: Tensor, u: np.ndarray) -> np.ndarray:
        leaves = self._leaves()
        with self._differentiating():
            y = self.f(leaves, x).reshape(len(x), -1)
            return _joined(_grad(y, leaves, torch.as_tensor(u).to(y.dtype)))

    def jvp(self, x: Tensor, w: np.ndarray) -> np.ndarray:
        tangents = self._split(w)
        with precision("float64"):
            try:
                return torch.func.jvp(lambda params: self.f(params, x), (self.params,), (tangents,))[1].reshape(
                    len(x), -1).detach().double().numpy()
            except (RuntimeError, NotImplementedError):  # an operation without forward mode: reverse mode, twice
                return self._twice(x, tangents)

    def rounded(self, unit: float, seed: int) -> TorchProbe:
        mode = _Rounding(unit, seed)
        params = {name: mode.moved(p) for name, p in self.params.items()}
        x2 = None if self.x2 is None else mode.moved(self.x2)
        return replace(self, params=params, x1=mode.moved(self.x1), x2=x2, unit=unit, seed=seed)

    def float32_inside(self) -> bool:
        x = self.x1[:1]
        with self._differentiating(), FewerBits() as noted:
            self.f(self._leaves(), x.detach().requires_grad_() if x.is_floating_point() else x)
        return noted.seen

    def _one(self, example: Tensor, outputs: Sequence[int]) -> np.ndarray:
        leaves = self._leaves()
        with self._differentiating():
            y = one_example(self.f)(leaves, example)
            return np.stack([_joined(_grad(y[a], leaves, None)) for a in outputs])

    def _twice(self, x: Tensor, tangents: Params) -> np.ndarray:
        leaves = self._leaves()
        with torch.enable_grad():
            y = self.f(leaves, x).reshape(len(x), -1)
            u = torch.zeros_like(y, requires_grad=True)
            pulled = torch.autograd.grad(y, tuple(leaves.values()), u, create_graph=True, allow_unused=True,
                                         materialize_grads=True)
            total = torch.stack([(g * d).sum() for g, d in zip(pulled, tangents.values(), strict=True)]).sum()
            return torch.autograd.grad(total, u)[0].detach().double().numpy()

    def _leaves(self) -> Params:
        return {name: p.detach().requires_grad_() for name, p in self.params.items()}

    @contextmanager
    def _differentiating(self) -> Iterator[None]:
        rounding = _Rounding(self.unit, self.seed) if self.unit else nullcontext()
        with precision("float64"), torch.enable_grad(), rounding:
            yield

    def _split(self, w: np.ndarray) -> Params:
        parts = torch.as_tensor(w).split([p.numel() for p in self.params.values()])
        return {name: part.reshape(p.shape).to(p.dtype)
                for (name, p), part in zip(self.params.items(), parts, strict=True)}


def _grad(y: Tensor, leaves: Params, u: Tensor | None) -> Sequence[Tensor]:
    return torch.autograd.grad(y, tuple(leaves.values()), u, retain_graph=True, allow_unused=True,
                               materialize_grads=True)


def _joined(parts: Sequence[Tensor]) -> np.ndarray:
    return torch.cat([part.detach().reshape(-1).double() for part in parts]).numpy()
