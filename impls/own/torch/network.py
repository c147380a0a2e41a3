"""A PyTorch module or function of the user's own, checked."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from impls.frameworks.torch.first_pass import Checked, checked
from impls.frameworks.torch.internals import has_hooks
from impls.frameworks.torch.module import ModuleFunction, check_held, differentiable, one_at_a_time, unwrapped
from impls.frameworks.torch.support import Forward, Params, dtype_of, module_function
from impls.given.asked import ALL, Asked
from impls.given.batches import OwnBatches
from impls.given.items import ONE, Takes, describe, takes
from impls.given.network import OwnNetwork, check_examples, check_finite, one_device
from impls.given.structure import leaves
from impls.given.table import Table
from impls.given.user_network import UserNetwork
from impls.own.torch import params as torch_params
from impls.own.torch.inputs import examples, of_numbers
from impls.own.torch.params import Real
from reference import InputError


@one_at_a_time
def own_network(network: UserNetwork, x1: Any, x2: Any, asked: Asked = ALL) -> OwnNetwork:
    """The network as a batched function; x1 and x2 in the dtype of its parameters, or integers. Raises `InputError`."""
    base, real, takes = _function(network, asked)
    params, dtype = real.params, real.dtype
    given = examples(x1, x2, takes, asked.inputs, dtype, next(iter(params.values())).device)
    of_all = of_numbers(base, given.table, takes)
    x1, x2 = given.x1, given.x2
    some1, some2 = (next(iter(x)) if isinstance(x, OwnBatches) else x for x in (x1, x2))
    check_examples(some1, some2)
    tensors = [*given.tensors(), *params.items()]
    for name, tensor in tensors:
        check_finite(bool(torch.isfinite(tensor).all()), name)
    kind = one_device(str(tensor.device) for _, tensor in tensors)
    f, n_outputs, first = _checked(real, of_all, some1, given.table, base)
    n_params = sum(p.numel() for p in params.values())
    return OwnNetwork("torch", f, params, x1, x2, dtype, kind, n_outputs, n_params, first, given.table)


def whole(own: OwnNetwork) -> OwnNetwork:
    """With x1 and x2 as one tensor each, all batches in memory."""
    x1, x2 = (torch.cat(list(x)) if isinstance(x, OwnBatches) else x for x in (own.x1, own.x2))
    return own._replace(x1=x1, x2=x2)


def _function(network: UserNetwork, asked: Asked) -> tuple[Any, Real, Takes]:
    """``f(params, *args, **kwargs)``, its parameters, and what it takes beside them."""
    if isinstance(network.model, nn.Module):
        if network.params is not None:
            raise InputError("a torch.nn.Module carries its parameters: leave params out, and freeze what is not "
                             "trained with requires_grad_(False)")
        base, params = module_function(unwrapped(network.model))
        _warn_of_hooks(base)
        for name, tensor in base.trained.items():
            check_held(tensor, name)
        return base, torch_params.real(params, torch_params.constants_of(base), asked), takes(base.module.forward)
    for name, p in network.params.items():
        check_held(p, f"params[{name!r}]")
    params = {name: differentiable(p.detach()) for name, p in network.params.items()
              if p.is_floating_point() or p.is_complex()}
    rest = {name: p for name, p in network.params.items() if name not in params}
    return torch_params.of_function(network.model, rest), torch_params.real(params, {}, asked), ONE


def _warn_of_hooks(base: ModuleFunction) -> None:
    """Of hooks of the parameters themselves, which act on a gradient that is whole; a kernel is made without one."""
    if hooked := [name for name, p in base.trained.items() if has_hooks(p)]:
        warnings.warn(f"what register_hook changes in the gradient of {', '.join(hooked[:5])} is no part of the "
                      "network's derivative: the kernel is that without these hooks; to mask entries of a parameter, "
                      "multiply it by the mask in the forward pass (torch.nn.utils.parametrize)", UserWarning,
                      stacklevel=2)


def _checked(real: Real, of_all: Forward, x: Tensor, rows: Table | None, base: Any) -> Checked:
    f, params, module = real.wrapped(of_all), real.params, base if isinstance(base, ModuleFunction) else None
    try:
        try:
            return checked(f, params, x, module)
        except RuntimeError as error:
            if not real.out or "require grad" not in str(error):
                raise
            return checked(real.wrapped(of_all, alive=True), params, x, module)
    except InputError:
        raise
    except (RuntimeError, TypeError, IndexError, ValueError, AttributeError, KeyError, AssertionError) as error:
        if rows is not None:
            inputs = "; ".join(f"{path} {describe(tensor)}".strip() for path, tensor in leaves(rows.rows, "").items())
            raise InputError(f"the model fails on x1 of {inputs} ({type(error).__name__}: {error})") from error
        raise InputError(_failure(f, params, x, error)) from error


def _failure(f: Forward, params: Params, x: Tensor, error: Exception) -> str:
    """What to say of a model that raises an error on x; a remedy only where trying it out shows that it is one."""
    said = f"the model fails on x1 of shape {tuple(x.shape)}, {x.dtype} ({type(error).__name__}: {error})"
    dtype = dtype_of(params)
    remedies = [(x.abs().clamp(max=0).long(), "it takes integers (tokens, say): convert x1")]
    if not x.is_floating_point():
        remedies = [(x.to(dtype), "it takes floating-point numbers: convert x1")]
    remedies += [(x[:, None], "it takes examples with one more axis: give x1[:, None]"),
                 (x[:1].reshape(1, -1), "it takes flat examples: give x1.flatten(1)"),
                 (x[None], "it takes x1 as one example, and the first axis is that of the examples: give x1[None]")]
    return "; ".join([said, *(remedy for other, remedy in remedies if _runs(f, params, other[:1]))][:2])


def _runs(f: Forward, params: Params, x: Tensor) -> bool:
    try:
        y = f({name: p.detach().requires_grad_() for name, p in params.items()}, x)
    except Exception:
        return False
    return isinstance(y, Tensor) and y.ndim > 0 and len(y) == len(x)
