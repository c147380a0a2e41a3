"""Any method on any model: a network of one framework for the methods of the other, and the kernel back."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

from impls.given.network import OwnNetwork
from impls.given.user_network import UserNetwork
from impls.protocol import Array, Framework
from reference import Case, Request

WAY = {"jax": ("torchax", "runs a PyTorch model on JAX arrays", "crossing"),
       "torch": ("jax", "is what the model is written in", "jax")}
"""To each framework from the other one: the package that it takes, why, and the extra that brings it."""


def foreign(case: Case, framework: Framework) -> bool:
    """Whether the case is a user's network of the other framework."""
    return isinstance(case.network, UserNetwork) and (case.network.framework == "torch") != (framework == "torch")


def obstacle(framework: Framework) -> str | None:
    """Why no network of the other framework comes into this one here, or None."""
    package, why, extra = WAY[framework]
    if importlib.util.find_spec(package) is not None:
        return None
    return f"{package} is not installed, which {why}: pip install -c constraints.txt '.[{extra}]'"


def cross(own: OwnNetwork, framework: Framework) -> OwnNetwork:
    """The network in that other framework, on the CPU. Raises `NotImplementedError` with what does not cross."""
    if (why := obstacle(framework)) is not None:
        raise NotImplementedError(why)
    if framework == "jax":
        from impls.frameworks.crossing import torch_in_jax as way
    else:
        from impls.frameworks.crossing import jax_in_torch as way
    f, params, x1, x2 = way.crossed(own.f, own.params, own.x1, own.x2)
    return own._replace(framework=framework, f=f, params=params, x1=x1, x2=x2, device="cpu")


def cross_case(case: Case, request: Request, framework: Framework) -> tuple[Any, Any, Any, Any]:
    """f, params, x1 and x2 of a case whose network is of the other framework, on the CPU; raises as `cross` does."""
    request = replace(request, device="cpu")
    if framework == "jax":
        from impls.frameworks.torch import support
    else:
        from impls.frameworks.jax import support
    found = OwnNetwork("torch" if framework == "jax" else "jax", *support.functional(case, request), request.dtype,
                       request.device, 0, 0)
    own = cross(found, framework)
    return own.f, own.params, own.x1, own.x2


def back(kernel: Any, own: OwnNetwork) -> Array | dict[str, Array]:
    """A kernel, or each of a dict of kernels, as an array of the network's own framework, where its inputs are."""
    from impls.frameworks.crossing import torch_in_jax

    if isinstance(kernel, dict):
        return {name: back(part, own) for name, part in kernel.items()}
    if own.framework == "torch":
        return torch_in_jax.to_torch(kernel).to(own.x1.device)
    from impls.frameworks.jax.support import precision

    with precision(own.dtype):
        return torch_in_jax.to_jax(kernel)
