"""A case of PyTorch's as a function of its parameters: the shared network built, or the user's own converted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from impls.frameworks.torch.first_pass import checked
from impls.frameworks.torch.module import copied, unwrapped
from impls.frameworks.torch.support import DTYPES, Forward, Params, device, module_function
from impls.given.user_network import UserNetwork
from impls.networks.torch import build, tensor_of
from reference import Case, Described, InputError, Layered, Request
from reference.layers import WeightNormDense


class Functional(NamedTuple):
    """A case, ready to be differentiated: `params` holds exactly the trainable parameters, each tied one once."""

    f: Forward
    params: Params
    x1: Tensor
    x2: Tensor | None


def unsupported(case: Case) -> str | None:
    """Why PyTorch cannot build this case's network, or None."""
    network = case.network
    if isinstance(network, UserNetwork):
        return None if network.framework == "torch" else (
            f"it reads the layers of a PyTorch module, and the network is of {network.framework}")
    if isinstance(network, Described):
        return None
    return f"PyTorch has no build of a {type(network).__name__}"


def unsupported_forward_mode(case: Case) -> str | None:
    """Why PyTorch has no forward-mode derivative of this network, or None."""
    network = case.network
    if isinstance(network, Layered) and any(isinstance(layer, WeightNormDense) for layer in network.all_layers()):
        return ("PyTorch has no forward-mode derivative of weight normalisation (NotImplementedError: "
                "_weight_norm_interface)")
    return None


class Built(NamedTuple):
    """A case as a module in evaluation mode, as a function of its parameters, and its inputs."""

    module: nn.Module
    f: Forward
    params: Params
    x1: Tensor
    x2: Tensor | None


def built(case: Case, request: Request) -> Built:
    """`case` in the request's dtype and on its device; of a user's own module, a copy.

    Raises `InputError` for a module whose kernel is not defined: one that is not batched, whose outputs do not depend
    on a trainable parameter, or whose examples depend on each other.
    """
    dtype, where = DTYPES[request.dtype], device(request.device)
    if isinstance(case.network, UserNetwork):
        module = _converted(case.network.model, dtype, where)
    else:
        module = build(case, dtype, where)
    f, params = module_function(module)
    x1 = _examples(case.x1, dtype, where)
    x2 = None if case.x2 is None else _examples(case.x2, dtype, where)
    return Built(module, checked(f, params, x1, f).f, params, x1, x2)


def native(case: Case, request: Request) -> Functional:
    """`case` as a function of its trainable parameters; raises as `built` does."""
    _, f, params, x1, x2 = built(case, request)
    return Functional(f, params, x1, x2)


def _examples(x: np.ndarray, dtype: torch.dtype, where: torch.device) -> Tensor:
    return tensor_of(x, dtype if x.dtype.kind == "f" else torch.int64, where)


def _converted(model: Any, dtype: torch.dtype, where: torch.device) -> nn.Module:
    """A copy of the user's module in evaluation mode; the module itself stays as it is."""
    if not isinstance(model, nn.Module):
        raise InputError(f"a PyTorch model must be a torch.nn.Module, got {type(model).__name__}")
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_complex():
            raise InputError(f"{name!r} is {value.dtype}, which cannot be converted to {dtype}; use real parameters")
    return copied(unwrapped(model)).to(device=where, dtype=dtype)
