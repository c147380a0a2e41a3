"""Products with Jacobians in PyTorch, K v = J₁ (J₂ᵀ v), by passes through blocks of examples: for `impls.own.operator`.

Forward mode takes half of the time of a second reverse pass and not all that reverse mode knows; `vmap` shares the
forward pass between vectors, and is wrong for some operations. So there are three ways, the fastest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from impls.frameworks.torch.cotangents import ContiguousCotangents, pulled_back
from impls.frameworks.torch.forward_mode import as_in_training, jvp
from impls.frameworks.torch.module import differentiable
from impls.frameworks.torch.operations import counting
from impls.frameworks.torch.support import DTYPES, precision
from impls.given.network import OwnNetwork
from reference import InputError

CHECKED = (2, 1)
"""Numbers of vectors: one alone takes none of `vmap`."""

Gradients = Sequence[Tensor]
"""(k, *shape) of each parameter."""


class Passes(NamedTuple):
    """`mapped`: several vectors in one pass; `forward`: J g in forward mode, else as the derivative of Jᵀ u along g."""

    own: OwnNetwork
    mapped: bool
    forward: bool

    def __str__(self) -> str:
        return (f"a backward pass and {'forward mode' if self.forward else 'the backward pass of it'}, "
                f"{'several vectors at once' if self.mapped else 'one vector after the other'}")

    def multiply(self, left: Tensor, right: Tensor, vectors: Tensor, block: int) -> Tensor:
        """J(left) J(right)ᵀ v of each v of `vectors` (k, n2, O), in blocks of that many examples: (k, n1, O)."""
        gradients: Gradients | None = None
        with precision(self.own.dtype):
            for x, v in zip(right.split(block), vectors.split(block, 1), strict=True):
                found = self._pulled(x, v)
                gradients = found if gradients is None else [a + b for a, b in zip(gradients, found, strict=True)]
            assert gradients is not None
            return torch.cat([self._pushed(x, gradients) for x in left.split(block)], 1)

    def _pulled(self, x: Tensor, vectors: Tensor) -> Gradients:
        """Jᵀ v."""
        leaves = self._leaves()
        with torch.enable_grad(), ContiguousCotangents():
            y = self.own.f(leaves, x).reshape(len(x), -1)
        if len(vectors) == 1:
            return [g[None] for g in pulled_back(y, vectors[0], tuple(leaves.values()))]
        if self.mapped:
            found = torch.vmap(lambda v: _gradients(y, leaves, v))(vectors)
            return list(found)
        each = [pulled_back(y, v, tuple(leaves.values())) for v in vectors]
        return [torch.stack(parts) for parts in zip(*each, strict=True)]

    def _pushed(self, x: Tensor, gradients: Gradients) -> Tensor:
        """J g."""
        if not self.forward:
            return self._twice(x, gradients)
        f, params = as_in_training(self.own.f), {name: p.detach() for name, p in self.own.params.items()}

        def along(tangents: Gradients) -> Tensor:
            named = dict(zip(params, tangents, strict=True))
            return jvp(lambda p: f(p, x).reshape(len(x), -1), (params,), (named,))[1]

        with torch.no_grad():
            if self.mapped and len(gradients[0]) > 1:
                return torch.vmap(along)(gradients)
            return torch.stack([along(each) for each in zip(*gradients, strict=True)])

    def _twice(self, x: Tensor, gradients: Gradients) -> Tensor:
        """Jᵀ u is linear in u, and its derivative along g is J g: reverse mode alone, as in training."""
        leaves = self._leaves()
        with torch.enable_grad(), ContiguousCotangents():
            y = self.own.f(leaves, x).reshape(len(x), -1)
            u = torch.zeros_like(y, requires_grad=True)
            pulled = torch.autograd.grad(y, list(leaves.values()), u, create_graph=True, allow_unused=True,
                                         materialize_grads=True)
        rows = []
        for each in zip(*gradients, strict=True):
            used = [(p, g) for p, g in zip(pulled, each, strict=True) if p.requires_grad]
            rows.append(_gradients([p for p, _ in used], {"": u}, [g for _, g in used])[0])
        return torch.stack(rows)

    def _leaves(self) -> dict[str, Tensor]:
        return {name: p.detach().requires_grad_() for name, p in self.own.params.items()}


def ways(own: OwnNetwork) -> list[Any]:
    """Those to try, the fastest first."""
    return [Passes(own, mapped, forward) for mapped, forward in ((True, True), (False, True), (False, False))]


def bytes_of_pass(own: OwnNetwork) -> tuple[float, float]:
    """That a forward pass writes for each example, and for none of them."""
    def written(x: Tensor) -> float:
        with torch.enable_grad(), precision(own.dtype), counting() as found:
            own.f({name: p.detach().requires_grad_() for name, p in own.params.items()}, x)
        return found.bytes

    one, two = written(own.x1[:1]), written(own.x1[:1][[0, 0]])
    return max(two - one, 0.0), max(2 * one - two, 0.0)


def vector(own: OwnNetwork, v: Any) -> Tensor:
    """`v`, an array of PyTorch's or NumPy's, in the parameters' dtype, on their device. Raises `InputError`."""
    first = next(iter(own.params.values()))
    if isinstance(v, np.ndarray):
        return torch.tensor(np.array(v, np.dtype(own.dtype), order="C"), device=first.device)
    if v.device != first.device:
        raise InputError(f"the vector is on {v.device}, and the network on {first.device}; move it there")
    return differentiable(v.detach()).to(DTYPES[own.dtype])


def is_ours(v: Any) -> bool:
    return isinstance(v, Tensor)


def is_traced(v: Tensor) -> bool:
    """PyTorch's tensors have their numbers."""
    del v
    return False


def joined(parts: Sequence[Tensor], axis: int) -> Tensor:
    return torch.cat(list(parts), axis)


def _gradients(y: Any, leaves: dict[str, Tensor], cotangent: Any) -> tuple[Tensor, ...]:
    return torch.autograd.grad(y, list(leaves.values()), cotangent, retain_graph=True, allow_unused=True,
                               materialize_grads=True)
