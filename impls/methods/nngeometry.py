"""nngeometry 0.4 (George 2021, github.com/tfjgeorge/nngeometry): Gram matrix and Jacobian from hooks on the layers.

Convention: layout (O, N1, O, N2), x2 = x1 only, parameters of whole layers, frozen ones included. Converted: axes
permuted; x2 ≠ x1 is a block of the Gram matrix of x1 and x2 together; the diagonal and the trace are taken from the
full kernel; from Jacobians the columns of frozen parameters are left out, which a Gram matrix does not allow.
Layers are known by the names of their classes (`LayerCollection`). It declares torchvision, which it does not import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from impls.frameworks.imports import invalid_escapes
from impls.frameworks.torch.blocks import assemble, contract
from impls.frameworks.torch.support import precision
from impls.methods.torch_peers import ModuleMethod, has_frozen_parameters, unknown_layers
from reference import Case, Layered, Request
from reference.layers import Dense, Layer, LayerNorm, Residual, Shape, met

with invalid_escapes():
    from nngeometry import GramMatrix, Jacobian
    from nngeometry.layercollection import LayerCollection

# "ParametrizedLinear" it does not know; but where a layer has parts of its own, as that has, it does not say so.
KNOWN = ("Linear", "Conv1d", "Conv2d", "BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm", "ParametrizedLinear")


def gram(module: nn.Module, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
    """`GramMatrix`, layer by layer from inputs and gradients of outputs."""
    x = x1 if x2 is None else torch.cat([x1, x2])
    with torch.enable_grad(), precision(x.dtype):
        full = GramMatrix(module, _loader(x, request.batch_size), _function(module)).to_torch().permute(1, 3, 0, 2)
    full = full if x2 is None else full[: len(x1), len(x1):]
    if request.outputs == "full":
        return full.contiguous()
    diagonal = full.diagonal(dim1=2, dim2=3)
    return diagonal.contiguous() if request.outputs == "diagonal" else diagonal.sum(2)


def jacobian(module: nn.Module, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
    """`Jacobian`, contracted here."""
    trained = _trained_columns(module)

    def rows(x: Tensor) -> Tensor:
        return Jacobian(module, _loader(x, None), _function(module)).to_torch().transpose(0, 1)[:, :, trained]

    with torch.enable_grad(), precision(x1.dtype):
        return assemble(rows, lambda left, right: contract(left, right, request.outputs), x1, x2, request.batch_size)


def _function(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x).flatten(1)


def _loader(x: Tensor, batch_size: int | None) -> DataLoader:
    """With a generator of its own: a `DataLoader` without one draws from that of the process."""
    return DataLoader(TensorDataset(x), batch_size=batch_size or len(x), generator=torch.Generator())


def _trained_columns(module: nn.Module) -> Tensor:
    """Which columns of a Jacobian belong to trained parameters; they stand layer by layer, weight before bias."""
    from_model: Any = LayerCollection.from_model  # it takes no self, and is no static method
    known = from_model(module)
    modules, _ = known.get_layerid_module_maps(module)
    columns = [torch.zeros(0, dtype=torch.bool)]
    for name, layer in known.layers.items():
        for size, param in ((layer.weight, modules[name].weight), (layer.bias, modules[name].bias)):
            if size is not None:
                columns.append(torch.full((size.numel(),), param.requires_grad))
    return torch.cat(columns)


def _refusal(case: Case) -> str | None:
    if case.network.n_tokens is not None:
        return "nngeometry differentiates with respect to its inputs, which tokens do not allow"
    if isinstance(case.network, Layered) and _on_further_axes(case.network.layers, case.network.input_shape):
        return "nngeometry's linear layers and layer norms take vectors only (RuntimeError)"
    return unknown_layers(case, "nngeometry", KNOWN)


def _on_further_axes(layers: tuple[Layer, ...], shape: Shape) -> bool:
    """Whether a linear layer or a layer norm is applied along the last of several axes."""
    return any(
        _on_further_axes(layer.body, inside) or _on_further_axes(layer.shortcut, inside) if isinstance(layer, Residual)
        else isinstance(layer, Dense | LayerNorm) and len(inside) > 1
        for layer, inside in met(layers, shape))


def _gram_refusal(case: Case) -> str | None:
    if has_frozen_parameters(case):
        return "nngeometry's Gram matrix counts all parameters of a layer, frozen ones too"
    return _refusal(case)


METHODS = (
    ModuleMethod("nngeometry.gram", gram, _gram_refusal),
    ModuleMethod("nngeometry.jacobian", jacobian, _refusal),
)
