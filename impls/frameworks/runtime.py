"""What the harness asks of a framework: a device that is awake, the allocator's own peak, the number of parameters.

Each function imports the framework that it is asked about, and no other.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from types import MethodType
from typing import NamedTuple

from impls.given.user_network import UserNetwork
from impls.protocol import Framework
from reference import Case, InputError, Request

# What a framework imports only when it is used first, seconds of it, which would be charged to a method's first call.
LAZY_IMPORTS: dict[str, tuple[str, ...]] = {"torch": ("torch._dynamo",), "jax": (), "numpy": ()}


class Memory(NamedTuple):
    """Bytes that the allocator of a CUDA device holds: now, and at most so far."""

    now: int
    peak: int


def missing_device(framework: Framework, name: str) -> str | None:
    """Why that framework cannot run on the device "cpu" or "cuda", or None."""
    try:
        wake(framework, name)
    except InputError as error:
        return str(error)
    return None


def wake(framework: Framework, name: str) -> None:
    """Start the framework's device, so that no method is charged for it. Raises `InputError` where there is none."""
    if framework == "jax":
        from impls.frameworks.jax import support as jax_support

        jax_support.device(name)
    elif framework == "torch":
        import torch

        from impls.frameworks.torch import support as torch_support

        torch.zeros(1, device=torch_support.device(name))
    elif name != "cpu":
        raise InputError("NumPy runs on the CPU only; use --device cpu")


def device_memory(framework: Framework) -> Memory | None:
    """Of the first CUDA device; None where the framework's allocator keeps no count."""
    if framework == "jax":
        from impls.frameworks.jax import support as jax_support

        found = jax_support.device("cuda").memory_stats()
        return None if not found else Memory(found["bytes_in_use"], found["peak_bytes_in_use"])
    if framework == "torch":
        import torch

        return Memory(torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated())
    return None


def free_memory(framework: Framework, device: str) -> int | None:
    """Bytes that can still be allocated there; None where neither the system nor the framework tells."""
    if device == "cpu":
        return _free_memory_of_host()
    if framework == "torch":
        import torch

        reserved = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # its own allocator's, to be used again
        return torch.cuda.mem_get_info()[0] + reserved
    from impls.frameworks.jax import support as jax_support

    found = jax_support.device(device).memory_stats()
    return None if not found else found["bytes_limit"] - found["bytes_in_use"]


def _free_memory_of_host() -> int | None:
    try:
        import psutil
    except ModuleNotFoundError:  # it comes with the benchmarks only; POSIX tells what is free without the caches
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    return psutil.virtual_memory().available


def set_threads(framework: Framework, threads: int) -> None:
    """PyTorch keeps a count of its own; JAX takes one thread for each core that the process may run on."""
    if framework == "torch":
        import torch

        torch.set_num_threads(threads)


def count_params(case: Case) -> int:
    """P, the number of trainable parameters; those of a user's network are counted by its own framework."""
    network = case.network
    if not isinstance(network, UserNetwork):
        return sum(math.prod(shape) for shape in network.param_shapes().values())
    if network.framework == "torch":
        from impls.frameworks.torch import support as torch_support

        return sum(param.numel() for param in torch_support.functional(case, Request()).params.values())
    import jax

    from impls.frameworks.jax import support as jax_support

    return sum(leaf.size for leaf in jax.tree.leaves(jax_support.functional(case, Request()).params))


def as_network(model: object) -> UserNetwork | None:
    """A torch.nn.Module, an Equinox or Flax NNX module or a pair (f, params) as a network; None for anything else.

    A dict of tensors makes a pair one of PyTorch; JAX takes any other pytree. A pair is also an Equinox module with its
    state, or a Flax Linen module with its variables.
    """
    if _is_instance(model, "torch.nn", "Module"):
        return UserNetwork("torch", model)
    if _is_instance(model, "equinox", "Module"):
        return UserNetwork("equinox", model)
    if _is_instance(model, "flax.nnx", "Module"):
        from impls.own.jax import flax as flax_networks

        return flax_networks.nnx_network(model)
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], Callable):
        f, params = model
        if _is_instance(f, "equinox", "Module") and _is_instance(params, "equinox.nn", "State"):
            return UserNetwork("equinox", model)
        if is_linen(f):
            from impls.own.jax import flax as flax_networks

            return flax_networks.linen_network(f, params)
        if isinstance(params, dict) and any(_is_instance(p, "torch", "Tensor") for p in params.values()):
            from impls.frameworks.torch.functions import FunctionModule

            return UserNetwork("torch", FunctionModule(f, params))
        return UserNetwork("jax", f, params)
    return None


def is_linen(model: object) -> bool:
    """Whether it is a Flax Linen module, or the `apply` of one."""
    if isinstance(model, MethodType) and model.__name__ == "apply":
        model = model.__self__
    return _is_instance(model, "flax.linen", "Module")


def _is_instance(model: object, module: str, name: str) -> bool:
    """Whether `model` is one of that class; of a module that is not imported nothing can exist."""
    return module in sys.modules and isinstance(model, getattr(sys.modules[module], name))
