"""Any method on any model: a network of one framework for the methods of the other, and the kernel back."""

from __future__ import annotations

import importlib.util
from typing import Any

from impls.given.network import OwnNetwork
from impls.protocol import Array, Framework

WAY = {"jax": ("torchax", "runs a PyTorch model on JAX arrays", "crossing"),
       "torch": ("jax", "is what the model is written in", "jax")}
"""To each framework from the other one: the package that it takes, why, and the extra that brings it."""


def obstacle(framework: Framework) -> str | None:
    """Why no network of the other framework comes into this one here, or None."""
    package, why, extra = WAY[framework]
    if importlib.util.find_spec(package) is not None:
        return None
    return f"{package} is not installed, which {why}: pip install -c constraints.txt '.[{extra}]'"


def crossed(framework: Framework, f: Any, params: Any, x1: Array, x2: Array | None) -> tuple[Any, Any, Array, Any]:
    """f, its parameters and the examples in that framework, on the CPU.

    Raises `NotImplementedError` with what does not cross.
    """
    if (why := obstacle(framework)) is not None:
        raise NotImplementedError(why)
    if framework == "jax":
        from impls.frameworks.crossing import torch_in_jax as way
    else:
        from impls.frameworks.crossing import jax_in_torch as way
    return way.crossed(f, params, x1, x2)


def cross(own: OwnNetwork, framework: Framework) -> OwnNetwork:
    """The network in that other framework; raises as `crossed` does."""
    f, params, x1, x2 = crossed(framework, own.f, own.params, own.x1, own.x2)
    return own._replace(framework=framework, f=f, params=params, x1=x1, x2=x2, device="cpu", first=None)


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
