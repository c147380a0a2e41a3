"""A function of the user's own, ``f(params, x)`` with a dict of tensors, as a `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from reference import InputError


class FunctionModule(nn.Module):
    """f with its floating-point tensors as parameters, and all others as buffers.

    The names stay the user's own inside f; a module's may hold no dot, so it numbers them. Raises `InputError` for
    params that are no flat dict of tensors.
    """

    def __init__(self, f: Callable[[dict[str, Tensor], Tensor], Tensor], params: Mapping[str, Any]) -> None:
        super().__init__()
        self.f, self.names = f, tuple(params)
        for i, (name, value) in enumerate(params.items()):
            if not isinstance(value, Tensor):
                raise InputError(f"params[{name!r}] is a {type(value).__name__}; with PyTorch, params is a flat dict "
                                 "from name to tensor")
            if value.is_floating_point():
                self.register_parameter(f"p{i}", nn.Parameter(value.detach().clone()))
            else:
                self.register_buffer(f"p{i}", value.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.f({name: getattr(self, f"p{i}") for i, name in enumerate(self.names)}, x)
