"""BackPACK 1.7.1 (Dangel et al. 2020, arXiv 1912.10985): per-example gradients (`BatchGrad`), one pass an output.

Convention: the gradients of a sum over examples, (N, *shape) for each parameter; the kernel is contracted here, nothing
else is converted. Modules are known by their classes. It declares torchvision, of which only an example needs anything.
"""

from __future__ import annotations

import warnings

import torch
from backpack import backpack, extend
from backpack.extensions import BatchGrad
from torch import Tensor, nn

from impls.frameworks.torch.blocks import assemble, contract
from impls.frameworks.torch.support import precision
from impls.methods.torch_peers import ModuleMethod, flat_outputs, unknown_layers
from reference import Case, Request

KNOWN = ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
         "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "RNN", "LSTM", "Embedding")


def batch_grad(module: nn.Module, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
    """The kernel from `BatchGrad`. Time O backward passes over the batch, memory N·O·P."""
    for layer in module.modules():
        if not list(layer.children()):  # BackPACK has no rule for containers, and needs none for gradients
            extend(layer)
    with torch.enable_grad(), precision(next(module.parameters()).dtype):  # x1 may hold tokens
        return assemble(lambda x: _jacobian(module, x),
                        lambda left, right: contract(left, right, request.outputs), x1, x2, request.batch_size)


def _jacobian(module: nn.Module, x: Tensor) -> Tensor:
    """(N, O, P)"""
    params = [param for param in module.parameters() if param.requires_grad]
    # PyTorch warns of full backward hooks, which BackPACK uses, where no input requires a gradient; tokens cannot.
    x = x.detach().requires_grad_() if x.is_floating_point() else x
    outputs = flat_outputs(module, x).sum(0)
    rows = []
    for a, output in enumerate(outputs):
        more = a + 1 < len(outputs)
        with backpack(BatchGrad(), retain_graph=more), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            output.backward(retain_graph=more)
        rows.append(torch.cat([_taken(param) for param in params], dim=1))
    return torch.stack(rows, dim=1)


def _taken(param: nn.Parameter) -> Tensor:
    """The parameter's gradients for each example, (N, P_i), taken off it."""
    gradients = param.grad_batch  # pyright: ignore[reportAttributeAccessIssue]
    del param.grad_batch  # pyright: ignore[reportAttributeAccessIssue]
    param.grad = None
    return gradients.flatten(1)


def _refusal(case: Case) -> str | None:
    return unknown_layers(case, "BackPACK's BatchGrad", KNOWN)


METHODS = (ModuleMethod("backpack.batch_grad", batch_grad, _refusal),)
