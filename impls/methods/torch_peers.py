"""What the adapters of third-party PyTorch libraries share: their methods take a module, not a function.

Several of these libraries know layers by their class, so that the layers in NTK parameterization, which are classes of
ours, are given to them as PyTorch's own with a factor before and after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from impls.given.user_network import UserNetwork
from impls.methods.options import check_options
from impls.networks.torch import NTKConv2d, NTKLinear
from impls.networks.torch_native import built, unsupported
from reference import MLP, Case, ConvNet, Layered, Request, layers
from reference.layers import Layer

KernelOfModule = Callable[[nn.Module, Tensor, Tensor | None, Request], Tensor]


@dataclass(frozen=True)
class ModuleMethod:
    """A method that computes the kernel of a module in evaluation mode, which is its own."""

    name: str
    compute: KernelOfModule
    refusal: Callable[[Case], str | None]
    """Why the library cannot do a case that PyTorch can, or None."""
    framework: Literal["torch"] = "torch"
    kind: Literal["exact"] = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported(case) or self.refusal(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        check_options(self.name, request, {})
        module, _, _, x1, x2 = built(case, request)
        module = in_known_layers(module)
        return lambda: self.compute(module, x1, x2, request)


# Layers of the reference that hold parameters → the module that holds them in `impls.networks.torch_layers`.
_OWNERS: dict[type[Layer], str] = {
    layers.Dense: "Linear", layers.Convolution: "Conv2d", layers.BatchNorm: "BatchNorm2d",
    layers.LayerNorm: "LayerNorm", layers.RMSNorm: "RMSNorm", layers.Embedding: "Embedding",
    layers.Positions: "LearnedPositions", layers.Attention: "MultiheadAttention", layers.Recurrent: "RNNCell",
    layers.Unused: "Unused", layers.WeightNormDense: "ParametrizedLinear",
}


def parameter_owners(case: Case) -> list[str]:
    """The classes of the modules that hold the case's parameters, one for each module; nothing is built."""
    network = case.network
    if isinstance(network, UserNetwork):
        return [type(module).__name__ for module in network.model.modules() if _own_parameters(module)]
    if isinstance(network, MLP):
        return ["Linear"] * network.n_layers
    if isinstance(network, ConvNet):
        return ["Conv2d"] * len(network.convs) + ["Linear"] * len(network.dense)
    assert isinstance(network, Layered)
    return [_OWNERS[type(layer)] for layer in network.all_layers() if type(layer) in _OWNERS]


def unknown_layers(case: Case, library: str, known: Collection[str]) -> str | None:
    """That the library has no rule for some of the case's layers, which it knows by the names of their classes."""
    unknown = sorted(Counter(parameter_owners(case)).keys() - set(known))
    return f"{library} has no rule for the parameters of {', '.join(unknown)}" if unknown else None


def has_frozen_parameters(case: Case) -> bool:
    network = case.network
    if isinstance(network, UserNetwork):
        return any(not param.requires_grad for param in network.model.parameters())
    return isinstance(network, Layered) and bool(network.frozen)


def _own_parameters(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


class Scale(nn.Module):
    """A constant factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def in_known_layers(module: nn.Module) -> nn.Module:
    """The module, changed in place, with y = s_W W x + s_b b written as s_b (W ((s_W/s_b) x) + b) in `nn.Linear` or
    `nn.Conv2d`: the same function of the same parameters."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NTKLinear | NTKConv2d) and (child.bias is None or child.bias_scale != 0):
                setattr(parent, name, _between_factors(child))
    return module


def _between_factors(layer: NTKLinear | NTKConv2d) -> nn.Module:
    plain: nn.Linear | nn.Conv2d
    if isinstance(layer, NTKLinear):
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    else:
        plain = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,  # pyright: ignore[reportArgumentType]
                          bias=layer.bias is not None, device="meta")
    plain.weight, plain.bias = layer.weight, layer.bias  # pyright: ignore[reportAttributeAccessIssue]
    outer = 1.0 if layer.bias is None else layer.bias_scale
    return nn.Sequential(Scale(layer.weight_scale / outer), plain, Scale(outer)).eval()


def flat_outputs(module: nn.Module, x: Tensor) -> Tensor:
    """(N, O)"""
    return module(x).flatten(1)


def empty_targets(x: Tensor) -> Tensor:
    """For libraries that ask for targets and do not look at them."""
    return torch.zeros(len(x), device=x.device)
