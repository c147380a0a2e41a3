"""The kernel of a PyTorch module or function as a function that autograd and `torch.func` differentiate."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from impls.frameworks.torch.cotangents import ApartFromScales, ContiguousCotangents
from impls.frameworks.torch.first_pass import checked
from impls.frameworks.torch.internals import is_functorch_wrapped_tensor, surrounding_transform
from impls.frameworks.torch.module import ModuleFunction, differentiable, on_copies, one_at_a_time, unwrapped
from impls.frameworks.torch.rerun import Rerun
from impls.frameworks.torch.support import (
    Forward,
    Params,
    differentiating,
    dtype_of,
    module_function,
    one_example,
    precision,
    with_derivatives,
)
from impls.frameworks.uncompiled import uncompiled
from impls.own.torch.across import SLACK
from impls.own.torch.selfcheck import length, one_place_off
from reference import InputError, tolerance
from reference.case import DType, Outputs

LOOP = "torch_autograd.per_example"
EQUATIONS = {"full": "nap,mbp->nmab", "diagonal": "nap,map->nma", "trace": "nap,map->nm"}


def of_module(module: nn.Module) -> tuple[Forward, Params]:
    """The module as a batched function of its trainable parameters by their names, and these, detached."""
    return module_function(unwrapped(module))


def kernel_function(f: Forward, outputs: Outputs, method: str, *,
                    of_module: bool = False) -> Callable[[Any, Any, Any], Tensor]:
    """``kernel(params, x1, x2)``, of which autograd knows all operations.

    `method` "auto" maps with `torch.func` where that can map the network, and loops elsewhere. `of_module`: its first
    call refuses a module with parameters that `params` do not reach.
    """
    unchecked, looks = of_module, Looks()
    jacobian = {"torch_func.jacobian_contraction": looks.mapped, LOOP: _one_by_one, "auto": looks.either}[method]
    of_copies = on_copies(f)

    @uncompiled
    @with_derivatives()
    def kernel(params: Params, x1: Tensor, x2: Tensor | None) -> Tensor:
        nonlocal unchecked
        for what, x in (("x1", x1), ("x2", x2)):
            if not isinstance(x, Tensor) and (what == "x1" or x is not None):
                raise InputError(f"{what} must be a tensor, got {type(x).__name__}; of a model of several inputs, make "
                                 "one that takes them in one tensor, or use impls.ntk")
        x1, x2 = differentiable(x1), None if x2 is None else differentiable(x2)
        params = {name: differentiable(p) for name, p in params.items()}
        if unchecked and surrounding_transform() is None:  # within one there are no numbers to look at
            _check_differentiable(f, params, x1)
            unchecked = False
        constants = {name: p for name, p in params.items() if not p.is_floating_point()}
        trained = {name: p for name, p in params.items() if p.is_floating_point()}
        if not trained:
            raise InputError("params hold no floating-point tensor, so there is no tangent kernel")

        def of_trained(some: Params, x: Tensor) -> Tensor:
            return of_copies({**constants, **some}, x)

        with precision(dtype_of(trained)):
            left = jacobian(of_trained, trained, x1)
            right = left if x2 is None else jacobian(of_trained, trained, x2)
            return reduce(torch.add, (torch.einsum(EQUATIONS[outputs], left[name], right[name]) for name in trained))

    return kernel


class Looks:
    """Holds the derivative of mapped Jacobians against that of a loop, once, when one is asked for by autograd: of one
    example, along a random direction. PyTorch has rules for mapping an operation and for differentiating it, and not
    always right ones for both."""

    def __init__(self) -> None:
        self.wrong: bool | None = None

    def mapped(self, f: Forward, params: Params, x: Tensor) -> Params:
        if self._is_wrong(f, params, x):
            raise InputError("PyTorch differentiates the Jacobians that torch.func maps wrongly for this network: the "
                             f"kernel is right, and its gradients would not be; choose method={LOOP!r}")
        return _mapped(f, params, x)

    def either(self, f: Forward, params: Params, x: Tensor) -> Params:
        try:
            return _one_by_one(f, params, x) if self._is_wrong(f, params, x) else _mapped(f, params, x)
        except NotImplementedError:
            return _one_by_one(f, params, x)

    def _is_wrong(self, f: Forward, params: Params, x: Tensor) -> bool:
        asked = torch.is_grad_enabled() and any(each.requires_grad for each in (x, *params.values()))
        if self.wrong is None and asked and not any(map(is_functorch_wrapped_tensor, (x, *params.values()))):
            self.wrong = not _agree_twice(f, params, x[:1])
        return bool(self.wrong) and asked


def _agree_twice(f: Forward, params: Params, x: Tensor) -> bool:
    """Up to rounding, and a multiple of what one unit in the last place of the parameters does."""
    mapped, looped = (_gradient(jacobian, f, params, x) for jacobian in (_mapped, _one_by_one))
    off, allowed = _apart(mapped, looped), SLACK * tolerance(_name(dtype_of(params))) * length(looped)
    if off <= allowed:
        return True
    moved = {name: one_place_off(p.detach(), 0, i) for i, (name, p) in enumerate(params.items())}
    return off <= allowed + SLACK * _apart(_gradient(_one_by_one, f, moved, x), looped)


def _gradient(jacobian: Callable[..., Params], f: Forward, params: Params, x: Tensor) -> list[Tensor]:
    """Of a random number made from the Jacobians of one example."""
    leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    x = x.detach().clone().requires_grad_(x.is_floating_point())
    some, draw = [*leaves.values(), *([x] if x.requires_grad else [])], np.random.default_rng(0)
    with torch.enable_grad():
        total = reduce(torch.add, ((part * torch.tensor(draw.standard_normal(tuple(part.shape)), dtype=part.dtype,
                                                        device=part.device)).sum()
                                   for part in jacobian(f, leaves, x).values()))
    if not total.requires_grad:  # of a network that is linear
        return [torch.zeros_like(each) for each in some]
    return list(torch.autograd.grad(total, some, allow_unused=True, materialize_grads=True))


def _name(dtype: torch.dtype) -> DType:
    return "float64" if dtype == torch.float64 else "float32"


def _apart(some: list[Tensor], others: list[Tensor]) -> float:
    return length(a - b for a, b in zip(some, others, strict=True))


def _mapped(f: Forward, params: Params, x: Tensor) -> Params:
    """For each parameter (N, O, P_i)."""

    def evaluate() -> Tensor:
        return f({name: p.detach().requires_grad_() for name, p in params.items()}, x[:1])

    with ApartFromScales(), differentiating("torch.func", evaluate, f"method={LOOP!r} loops instead"):
        jacobians = vmap(jacrev(one_example(f)), in_dims=(None, 0))(params, x)
    return {name: jacobian[..., None].flatten(2) for name, jacobian in jacobians.items()}


def _one_by_one(f: Forward, params: Params, x: Tensor) -> Params:
    """The same by one backward pass for each example and output, for networks that `torch.func` cannot map."""
    names = list(params)
    with torch.enable_grad(), ContiguousCotangents():
        # Not the tensors themselves, one of which may stand under two names.
        inside = [p.view_as(p) if p.requires_grad else p.detach().requires_grad_() for p in params.values()]
        rows = [[torch.autograd.grad(y, inside, create_graph=True, retain_graph=True, allow_unused=True,
                                     materialize_grads=True)
                 for y in one_example(f)(dict(zip(names, inside, strict=True)), example)] for example in x]
    return {name: torch.stack([torch.stack([row[i].flatten() for row in of_one]) for of_one in rows])
            for i, name in enumerate(names)}


@one_at_a_time
def _check_differentiable(f: Forward, params: Params, x: Tensor) -> None:
    some = {name: p.detach() for name, p in params.items()}
    if isinstance(checked(f, some, x.detach(), f if isinstance(f, ModuleFunction) else None).f, Rerun):
        raise InputError("the model runs again in its backward pass (a reentrant checkpoint, an adjoint), which has no "
                         "second derivative, as a kernel's derivative is; impls.ntk gives the kernel")
