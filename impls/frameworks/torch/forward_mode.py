"""Forward mode that passes what reverse mode passes, and nothing else.

PyTorch's two modes disagree on what is no path of differentiation: ``torch.no_grad()`` stops reverse mode alone, and
``tensor.data`` keeps its tangent (seen: PyTorch 2.13, `torch.func.jvp`). The kernel's derivative is that of training,
which is reverse mode's. And its levels are those of the process, not of a thread: of two threads inside
`torch.func.jvp`, the first to leave takes the level away from the other, which raises (PyTorch 2.13).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from impls.frameworks.torch.support import Forward, Params

ONE_THREAD_IN_FORWARD_MODE = RLock()
"""Held by whoever is in forward mode."""


def jvp(f: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """(outputs, their tangents), as `torch.func.jvp`, by one thread at a time."""
    with ONE_THREAD_IN_FORWARD_MODE:
        return torch.func.jvp(f, primals, tangents)


def as_in_training(f: Forward) -> Forward:
    """f for `torch.func.jvp`: no tangents in what is made without gradients, or read as ``.data``."""

    def cut(params: Params, x: Tensor) -> Tensor:
        with torch.enable_grad(), _Cutting():
            return f(params, x)

    return cut


SCALING: dict[Any, int] = {
    torch.nn.functional.embedding: 5, torch.embedding: 3, torch.nn.functional.embedding_bag: 5, torch.embedding_bag: 3,
}
"""The place of ``scale_grad_by_freq``, by operation: it divides gradients, and no tangents."""


class _Cutting(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in SCALING and (kwargs or {}).get("scale_grad_by_freq", any(args[SCALING[func]:SCALING[func] + 1])):
            raise NotImplementedError("scale_grad_by_freq=True changes what goes back through an embedding, and not "
                                      "what goes forward")
        answer = func(*args, **(kwargs or {}))
        if not torch.is_grad_enabled() or func == Tensor.data.__get__:  # pyright: ignore[reportAttributeAccessIssue]
            return pytree.tree_map_only(Tensor, Tensor.detach, answer)
        return answer
