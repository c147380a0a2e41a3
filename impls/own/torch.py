"""A PyTorch module or function of the user's own, checked."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from impls.own.batches import OwnBatches, is_batches
from impls.own.network import (
    OwnNetwork,
    check_examples,
    check_finite,
    check_numbers,
    failure,
    one_device,
    one_dtype,
)
from impls.own.user_network import UserNetwork
from impls.torch_support import DTYPES, Forward, Params, check_batched, check_reached, module_function, precision
from reference import InputError
from reference.case import DType


def own_network(network: UserNetwork, x1: Any, x2: Any) -> OwnNetwork:
    """The network as a batched function; x1 and x2 in the dtype of its parameters, or integers. Raises `InputError`."""
    f, params = _function(network)
    dtype = one_dtype(str(param.dtype).removeprefix("torch.") for param in params.values())
    where = next(iter(params.values())).device
    x1, x2 = _all(x1, "x1", dtype, where), None if x2 is None else _all(x2, "x2", dtype, where)
    some1, some2 = (next(iter(x)) if isinstance(x, OwnBatches) else x for x in (x1, x2))
    check_examples(some1, some2)
    tensors = [("x1", some1), *([] if some2 is None else [("x2", some2)]), *params.items()]
    for name, tensor in tensors:
        check_finite(bool(torch.isfinite(tensor).all()), name)
    kind = one_device(str(tensor.device) for _, tensor in tensors)
    _check_function(f, params, some1)
    if isinstance(network.model, nn.Module):  # what a function holds beside its params is a constant of the user's
        check_reached(f, params, some1)
    with torch.no_grad(), precision(dtype):
        n_outputs = f(params, some1[:1]).numel()
    return OwnNetwork("torch", f, params, x1, x2, dtype, kind, n_outputs, sum(p.numel() for p in params.values()))


def whole(own: OwnNetwork) -> OwnNetwork:
    """With x1 and x2 as one tensor each, all batches in memory."""
    x1, x2 = (torch.cat(list(x)) if isinstance(x, OwnBatches) else x for x in (own.x1, own.x2))
    return own._replace(x1=x1, x2=x2)


def _function(network: UserNetwork) -> tuple[Forward, Params]:
    if isinstance(network.model, nn.Module):
        if network.params is not None:
            raise InputError("a torch.nn.Module carries its parameters: leave params out, and freeze what is not "
                             "trained with requires_grad_(False)")
        return module_function(_evaluated(network.model))
    params = {name: p.detach() for name, p in network.params.items() if p.is_floating_point()}
    rest = {name: p for name, p in network.params.items() if name not in params}
    return lambda params, x: network.model({**rest, **params}, x), params


def _evaluated(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that shares the parameters' memory; the module itself stays as it is."""
    return copy.deepcopy(module, {id(param): param for param in module.parameters()}).eval()


def _check_function(f: Forward, params: Params, x: Tensor) -> None:
    try:
        check_batched(f, params, x)
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        raise InputError(failure(x.shape, str(x.dtype), x.is_floating_point(), error)) from error


def _all(x: Any, what: str, dtype: DType, where: torch.device) -> Tensor | OwnBatches:
    if not is_batches(x, what):
        return _examples(x, what, dtype, where)
    return OwnBatches(x, what, lambda batch, what: _examples(batch, what, dtype, where), lambda x: float(x.sum()))


def _examples(x: Any, what: str, dtype: DType, where: torch.device) -> Tensor:
    if isinstance(x, np.ndarray):
        check_numbers(str(x.dtype), x.dtype.kind in "fiu", what)
        return torch.tensor(x, dtype=DTYPES[dtype] if x.dtype.kind == "f" else torch.int64, device=where)
    if not isinstance(x, Tensor):
        raise InputError(f"{what} must be a tensor or a NumPy array for this model, got {type(x).__name__}")
    check_numbers(str(x.dtype), not x.is_complex() and x.dtype != torch.bool, what)
    return x.detach().to(DTYPES[dtype]) if x.is_floating_point() else x
