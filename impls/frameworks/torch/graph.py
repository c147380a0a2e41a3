"""The graph that PyTorch keeps behind a tensor, for its backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def nodes(y: Tensor) -> list[Any]:
    """Of the graph behind y."""
    seen, todo = dict[Any, None](), [y.grad_fn] if y.grad_fn is not None else []
    while todo:
        node = todo.pop()
        if node not in seen:
            seen[node] = None
            todo.extend(following for following, _ in node.next_functions if following is not None)
    return list(seen)


def reached(y: Tensor) -> list[Tensor]:
    """The leaves of the graph behind y."""
    if y.grad_fn is None:
        return [y] if y.requires_grad else []
    # AccumulateGrad has a variable
    return [leaf for node in nodes(y) if (leaf := getattr(node, "variable", None)) is not None]


def is_users(node: Any) -> bool:
    """Whether it is of a `torch.autograd.Function`, whose derivative is the user's own."""
    return isinstance(node, torch.autograd.function.BackwardCFunction)
