"""The kernel of a PyTorch module or function as a function that autograd and `torch.func` differentiate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from impls.torch_support import Forward, Params, check_reached, dtype_of, one_example, precision
from reference import InputError
from reference.case import Outputs

EQUATIONS = {"full": "nap,mbp->nmab", "diagonal": "nap,map->nma", "trace": "nap,map->nm"}


def of_module(module: nn.Module) -> tuple[Forward, Params]:
    """The module as a batched function of its trainable parameters by their names, and these, detached."""
    params = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    if not params:
        raise InputError(f"{type(module).__name__} has no trainable parameter (requires_grad=True), hence no kernel")

    def f(params: Params, x: Tensor) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}  # a forward pass may write to them
        with _evaluating(module):
            return functional_call(module, {**buffers, **params}, (x,))

    return f, params


def kernel_function(f: Forward, outputs: Outputs, method: str, *,
                    of_module: bool = False) -> Callable[[Any, Any, Any], Tensor]:
    """``kernel(params, x1, x2)``, of which autograd knows all operations.

    `of_module`: its first call refuses a module with parameters that `params` do not reach.
    """
    unchecked = of_module
    jacobian = {"torch_func.jacobian_contraction": _mapped, "torch_autograd.per_example": _one_by_one}[method]

    def kernel(params: Params, x1: Tensor, x2: Tensor | None) -> Tensor:
        nonlocal unchecked
        if unchecked:
            check_reached(f, params, x1.detach())
            unchecked = False
        constants = {name: p for name, p in params.items() if not p.is_floating_point()}
        trained = {name: p for name, p in params.items() if p.is_floating_point()}
        if not trained:
            raise InputError("params hold no floating-point tensor, so there is no tangent kernel")

        def of_trained(some: Params, x: Tensor) -> Tensor:
            return f({**constants, **some}, x)

        with precision(dtype_of(trained)):
            left = jacobian(of_trained, trained, x1)
            right = left if x2 is None else jacobian(of_trained, trained, x2)
            return reduce(torch.add, (torch.einsum(EQUATIONS[outputs], left[name], right[name]) for name in trained))

    return kernel


def _mapped(f: Forward, params: Params, x: Tensor) -> Params:
    """For each parameter (N, O, P_i)."""
    jacobians = vmap(jacrev(one_example(f)), in_dims=(None, 0))(params, x)
    return {name: jacobian.flatten(2) for name, jacobian in jacobians.items()}


def _one_by_one(f: Forward, params: Params, x: Tensor) -> Params:
    """The same by one backward pass for each example and output, for networks that `torch.func` cannot map."""
    names = list(params)
    with torch.enable_grad():
        # Not the tensors themselves, one of which may stand under two names.
        inside = [p.view_as(p) if p.requires_grad else p.detach().requires_grad_() for p in params.values()]
        rows = [[torch.autograd.grad(y, inside, create_graph=True, retain_graph=True, allow_unused=True,
                                     materialize_grads=True)
                 for y in one_example(f)(dict(zip(names, inside, strict=True)), example)] for example in x]
    return {name: torch.stack([torch.stack([row[i].flatten() for row in of_one]) for of_one in rows])
            for i, name in enumerate(names)}


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Inside, in evaluation mode, by its flags alone: `train` may be a method of the user's that does more."""
    parts = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in parts:
            part.training = False
        yield
    finally:
        for part, training in parts:
            part.training = training
