"""A method as libraries of second-order methods write it: hooks on the layers, and a product for each of them.

For a layer z = W a (+ b) the hooks keep what flows in, a, and what flows back, g = ∂f/∂z; W has the share
(a·a')(g·g'), and b the share g·g', for a layer that is used once at one position. A convolution multiplies the patches
of its input; its gradient is the sum over positions, and that of a layer that is used several times the sum over the
uses. Right, for networks of linear layers and ungrouped convolutions; its mutants are in `layerwise_mutants`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impls.frameworks.torch.support import DTYPES
from impls.networks.torch import NTKConv2d, NTKLinear, build
from impls.networks.torch_native import unsupported as not_of_torch
from impls.protocol import Framework, Kind
from reference import MLP, Case, ConvNet, Layered, Request
from reference.layers import Activate, Convolution, Dense, GlobalPool, Layer

KNOWN = (Dense, Convolution, Activate, GlobalPool)
Linear = nn.Linear | nn.Conv2d


@dataclass(frozen=True, eq=False)
class Use:
    """What some examples send through a layer once: per position T, as a matrix product sees it."""

    inflow: Tensor
    """(N, T, fan_in)"""
    delta: Tensor
    """(N, O, T, fan_out)"""


@dataclass
class Hooked:
    """The uses of each layer, in order."""

    inflows: dict[Linear, list[Tensor]] = field(default_factory=dict)
    outflows: dict[Linear, list[Tensor]] = field(default_factory=dict)

    def keep(self, layer: Linear, given: tuple[Tensor, ...], result: Tensor) -> None:
        self.inflows.setdefault(layer, []).append(given[0])
        self.outflows.setdefault(layer, []).append(result)


Shares = Callable[[Linear, list[Use], list[Use]], Tensor]
"""The share of a layer's parameters, (N1, N2, O, O), from its uses by x1 and by x2."""


@dataclass(frozen=True)
class Layerwise:
    shares: Shares
    name: str = "layerwise"
    framework: Framework = "torch"
    kind: Kind = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        network = case.network
        if (reason := not_of_torch(case)) is not None:
            return reason
        if not isinstance(network, MLP | ConvNet | Layered):
            return "hooks are set on known layers only"
        if isinstance(network, Layered):
            return next(filter(None, map(_unknown, network.all_layers())), None)
        return "the factors of the NTK parameterization are not known to the hooks" \
            if network.parameterization == "ntk" else None

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        dtype = DTYPES[request.dtype]
        module = build(case, dtype, torch.device("cpu"))
        x1 = torch.tensor(case.x1, dtype=dtype)
        x2 = None if case.x2 is None else torch.tensor(case.x2, dtype=dtype)
        return lambda: self._kernel(module, x1, x2, request)

    def _kernel(self, module: nn.Module, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
        uses1 = uses(module, x1)
        uses2 = uses1 if x2 is None else uses(module, x2)
        full = total(self.shares(layer, uses1[layer], uses2[layer]) for layer in uses1)
        subscripts = {"full": "nmab->nmab", "diagonal": "nmaa->nma", "trace": "nmaa->nm"}[request.outputs]
        return torch.einsum(subscripts, full)


def _unknown(layer: Layer) -> str | None:
    grouped = isinstance(layer, Convolution) and layer.groups > 1
    return None if isinstance(layer, KNOWN) and not grouped else f"there is no hook for {type(layer).__name__}"


def exact(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    """Per-example gradients of weight and bias, each summed over positions and uses; then their products."""
    shares = [zeros(uses1, uses2)]
    if layer.weight.requires_grad:
        shares.append(products(*(total(map(gradient, some)) for some in (uses1, uses2))))
    if layer.bias is not None and layer.bias.requires_grad:
        shares.append(products(*(total(use.delta.sum(2) for use in some) for some in (uses1, uses2))))
    return total(shares)


def total(tensors: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, tensors)


def zeros(uses1: list[Use], uses2: list[Use]) -> Tensor:
    (n1, n_outputs), n2 = uses1[0].delta.shape[:2], len(uses2[0].delta)
    return uses1[0].delta.new_zeros(n1, n2, n_outputs, n_outputs)


def gradient(use: Use) -> Tensor:
    """(N, O, fan_in·fan_out), in an order of no importance."""
    return torch.einsum("nti,nato->naio", use.inflow, use.delta).flatten(2)


def products(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("nap,mbp->nmab", left, right)


def uses(module: nn.Module, x: Tensor) -> dict[Linear, list[Use]]:
    """Every use of every layer; one and the same weight is one layer, whatever module holds it."""
    hooked = Hooked()
    with _hooks(module, hooked), torch.enable_grad():
        y = module(x).flatten(1).sum(0)
    by_weight: dict[int, tuple[Linear, list[Use]]] = {}
    for layer, outflows in hooked.outflows.items():
        rows = [torch.autograd.grad(output, outflows, retain_graph=True) for output in y]
        for index, inflow in enumerate(hooked.inflows[layer]):
            delta = torch.stack([row[index] for row in rows], dim=1)
            by_weight.setdefault(id(layer.weight), (layer, []))[1].append(_use(layer, inflow.detach(), delta))
    return dict(by_weight.values())


def _use(layer: Linear, inflow: Tensor, delta: Tensor) -> Use:
    if isinstance(layer, nn.Linear):
        return Use(inflow.unsqueeze(1), delta.unsqueeze(2))
    return Use(patches(layer, inflow), delta.flatten(3).transpose(2, 3))


def patches(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """(N, T, channels·kh·kw)"""
    assert not isinstance(layer.padding, str)
    return F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)


@contextmanager
def _hooks(module: nn.Module, hooked: Hooked) -> Iterator[None]:
    layers = [part for part in module.modules() if isinstance(part, Linear)]
    assert not any(isinstance(part, NTKLinear | NTKConv2d) for part in layers)
    handles = [part.register_forward_hook(hooked.keep) for part in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


LAYERWISE = Layerwise(exact)
