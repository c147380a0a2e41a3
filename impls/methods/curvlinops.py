"""curvlinops 3.0.1 (Dangel, Eschenhagen et al. 2025, arXiv 2501.19183): the Jacobian as a linear operator, J₁ (J₂ᵀ 1).

Convention: rows of J are examples and then outputs, columns the given parameters; the kernel is reshaped to
(N1, N2, O, O), its diagonal and trace are taken from the full one. Products use reverse and forward mode of
`torch.func`, all N2·O columns together.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from impls.frameworks.torch.forward_mode import ONE_THREAD_IN_FORWARD_MODE
from impls.frameworks.torch.support import differentiating, precision
from impls.methods.torch_peers import ModuleMethod, empty_targets, parameter_owners
from impls.networks.torch_native import unsupported_forward_mode
from reference import Case, Request

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # linear_operator, which it imports, scripts a function
    from curvlinops import JacobianLinearOperator, TransposedJacobianLinearOperator


def jacobian_products(module: nn.Module, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
    """The full kernel from products with the identity. Memory N2·O·P for J₂ᵀ."""
    x2 = x1 if x2 is None else x2
    params = [param for param in module.parameters() if param.requires_grad]
    dtype = params[0].dtype
    settings: dict[str, Any] = {"check_deterministic": False}  # the check draws from the process's random generator
    with precision(dtype):
        left = JacobianLinearOperator(module, params, _batches(x1, request.batch_size), num_data=len(x1), **settings)
        right = TransposedJacobianLinearOperator(module, params, _batches(x2, request.batch_size), num_data=len(x2),
                                                 **settings)
        rows = right.shape[1]
        running = differentiating("curvlinops", lambda: module(x1[:1]))
        with ONE_THREAD_IN_FORWARD_MODE, torch.no_grad(), running:
            products: Any = left @ (right @ torch.eye(rows, dtype=dtype, device=x1.device))
    full = products.reshape(len(x1), -1, len(x2), rows // len(x2)).transpose(1, 2)
    if request.outputs == "full":
        return full.contiguous()
    diagonal = full.diagonal(dim1=2, dim2=3)
    return diagonal.contiguous() if request.outputs == "diagonal" else diagonal.sum(2)


def _batches(x: Tensor, batch_size: int | None) -> list[tuple[Tensor, Tensor]]:
    return [(part, empty_targets(part)) for part in x.split(batch_size or len(x))]


def _refusal(case: Case) -> str | None:
    if "Unused" in parameter_owners(case):
        # github.com/pytorch/pytorch/issues/178425
        return ("curvlinops maps its products over their last axis, which PyTorch cannot where the outputs do not "
                "depend on a parameter (RuntimeError: The expanded size of the tensor must match the existing size)")
    return unsupported_forward_mode(case)


METHODS = (ModuleMethod("curvlinops.jacobian_products", jacobian_products, _refusal),)
