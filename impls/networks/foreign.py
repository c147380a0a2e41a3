"""A case whose network is a user's own of the other framework."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from impls.frameworks.crossing import ways
from impls.given.user_network import UserNetwork
from impls.protocol import Framework
from reference import Case, Request


def is_foreign(case: Case, framework: Framework) -> bool:
    """Whether the case is a user's network of the other framework."""
    return isinstance(case.network, UserNetwork) and (case.network.framework == "torch") != (framework == "torch")


def crossed(case: Case, request: Request, framework: Framework) -> tuple[Any, Any, Any, Any]:
    """f, params, x1 and x2 of a foreign case in that framework, on the CPU.

    Raises `NotImplementedError` with what does not cross.
    """
    if framework == "jax":
        from impls.networks.torch_native import native
    else:
        from impls.networks.jax_native import native
    return ways.crossed(framework, *native(case, replace(request, device="cpu")))
