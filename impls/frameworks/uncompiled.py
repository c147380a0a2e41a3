"""What a compiler of Python's own frames must run as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """It, which `torch.compile` does not write down where it stands in a function that is compiled: it traces,
    differentiates and exchanges a module's tensors itself, which fails there, or takes minutes.

    PyTorch's compiler, seconds to import, is not imported: where it is not, nothing is compiled.
    """

    @wraps(function)
    def as_it_is(*args: P.args, **kwargs: P.kwargs) -> R:
        disable = getattr(sys.modules.get("torch._dynamo"), "disable", None)  # half imported, by another thread
        return (function if disable is None else disable(function))(*args, **kwargs)

    return as_it_is
