"""The kernel of a PyTorch module or function as a function that autograd and `torch.func` differentiate."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from impls.frameworks.torch.cotangents import ContiguousCotangents
from impls.frameworks.torch.first_pass import checked
from impls.frameworks.torch.module import ModuleFunction, differentiable, on_copies, unwrapped
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
from reference import InputError
from reference.case import Outputs

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
    unchecked = of_module
    jacobian = {"torch_func.jacobian_contraction": _mapped, "torch_autograd.per_example": _one_by_one,
                "auto": _either}[method]
    of_copies = on_copies(f)

    @with_derivatives()
    def kernel(params: Params, x1: Tensor, x2: Tensor | None) -> Tensor:
        nonlocal unchecked
        for what, x in (("x1", x1), ("x2", x2)):
            if not isinstance(x, Tensor) and (what == "x1" or x is not None):
                raise InputError(f"{what} must be a tensor, got {type(x).__name__}; of a model of several inputs, make "
                                 "one that takes them in one tensor, or use impls.ntk")
        x1, x2 = differentiable(x1), None if x2 is None else differentiable(x2)
        params = {name: differentiable(p) for name, p in params.items()}
        if unchecked:
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


def _either(f: Forward, params: Params, x: Tensor) -> Params:
    try:
        return _mapped(f, params, x)
    except NotImplementedError:
        return _one_by_one(f, params, x)


def _mapped(f: Forward, params: Params, x: Tensor) -> Params:
    """For each parameter (N, O, P_i)."""

    def evaluate() -> Tensor:
        return f({name: p.detach().requires_grad_() for name, p in params.items()}, x[:1])

    with differentiating("torch.func", evaluate, "method='torch_autograd.per_example' loops instead"):
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


def _check_differentiable(f: Forward, params: Params, x: Tensor) -> None:
    some = {name: p.detach() for name, p in params.items()}
    if isinstance(checked(f, some, x.detach(), f if isinstance(f, ModuleFunction) else None).f, Rerun):
        raise InputError("the model runs again in its backward pass (a reentrant checkpoint, an adjoint), which has no "
                         "second derivative, as a kernel's derivative is; impls.ntk gives the kernel")
