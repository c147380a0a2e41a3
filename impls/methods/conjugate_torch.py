"""`torch.conjugate`: φφᵀ/h of the features of a named layer, as a forward hook of the module sees them.

Convention: the reference's names of layers and features (reference/DEFINITION.md, "conjugate"), and its one output
axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from impls.frameworks.torch import features
from impls.frameworks.torch.support import precision
from impls.frameworks.watching import check_found
from impls.methods.conjugate import product
from impls.methods.options import check_options
from impls.networks import torch_native
from impls.networks.features import asked_layer, check_layer, place_in_layers
from impls.protocol import Framework, Kind
from reference import Case, Described, Layered, Quantity, Request
from reference.seen import INPUT


@dataclass(frozen=True)
class Conjugate:
    """Option: `layer`, such as "dense1:input"; the last hidden features without it."""

    name: str = "torch.conjugate"
    framework: Framework = "torch"
    kind: Kind = "exact"
    quantities: tuple[Quantity, ...] = ("conjugate",)

    def unsupported(self, case: Case, request: Request) -> str | None:
        return None if isinstance(case.network, Described) else (
            "of a model of the user's own it needs the layer's own path: impls.conjugate(model, x1, layer=…)")

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        layer = check_options(self.name, request, {"layer": None}, self.quantities)["layer"]
        built = torch_native.built(case, request)
        name = _name_in_module(case, layer)

        def phi(x: Tensor) -> Tensor:
            return features_of(built.module, x, name, request.batch_size)

        def kernel() -> Tensor:
            with precision(request.dtype):
                first = phi(built.x1)
                return product(first, first if built.x2 is None else phi(built.x2), request.outputs)

        return kernel


def features_of(module: nn.Module, x: Tensor, name: str, batch_size: int | None = None) -> Tensor:
    """φ (N, h) of that layer in evaluation mode, in blocks of examples. Raises `InputError` where it has none."""
    with torch.no_grad():
        parts = []
        for part in x.split(len(x) if batch_size is None else batch_size):
            found = features.observe(module, part, [name]).found
            check_found([name], found)
            parts.append(found[name].detach().reshape(len(part), -1))
        return torch.cat(parts)


def _name_in_module(case: Case, layer: str | None) -> str:
    """The layers of MLP and ConvNet have the reference's names in the module, those of `Layered` their places."""
    name, use, is_input = asked_layer(case, layer)
    if isinstance(case.network, Layered):
        name = str(place_in_layers(case, name, use))
    else:
        check_layer(case, name, use)
    return f"{name}{INPUT if is_input else ''}"


METHODS = (Conjugate(),)
