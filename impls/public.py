"""`ntk`: the kernel of a network of your own, in one call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

from impls import registry
from impls.own_network import OwnNetwork
from impls.protocol import Array, Framework, MethodNotInstalled
from impls.runtime import as_network
from impls.user_network import UserNetwork
from reference import InputError, Request
from reference.case import Outputs

# For "auto", the fastest first; the next one is for where it is not installed, or cannot.
AUTO: dict[Framework, tuple[str, ...]] = {
    "jax": ("neural_tangents.structured_derivatives", "equinox.exact"),
    "torch": ("torch_func.jacobian_contraction",),
}

# Those that hold the Jacobians of a block of examples of x1 (and, but for the products, of one of x2) …
HOLD_JACOBIANS = ("equinox.exact", "torch_func.jacobian_contraction", "torch_func.ntk_vector_products",
                  "torch_autograd.per_example")
# … get blocks that keep both within this many bytes, unless batch_size is given. Larger blocks are hardly faster.
JACOBIAN_BYTES = 2**30


def ntk(model: Any, x1: Array, x2: Array | None = None, *, params: Any = None, outputs: Outputs = "full",
        method: str = "auto", batch_size: int | None = None, verbose: bool = False, seed: int = 0,
        **options: Any) -> Array:
    """The neural tangent kernel K[n, m, a, b] = Σ_p ∂f_a(x1_n)/∂θ_p · ∂f_b(x2_m)/∂θ_p of `model`.

    `model` is

    - a `torch.nn.Module` that takes a batch. Its parameters are those with ``requires_grad``, tied ones counted once.
      It is evaluated in evaluation mode, and left as it is;
    - an Equinox module that takes one example. Its parameters are its floating-point arrays, those tied by
      `eqx.nn.Shared` counted once. It is evaluated in inference mode. To freeze some, give the trainable part as
      `params`, from ``params, _ = eqx.partition(model, filter_spec)``;
    - a function ``f(params, x)`` of a batch, with `params`: a dict from names to tensors, or a pytree of JAX arrays;
      all floating-point ones are parameters. Define it once, outside of loops: JAX compiles every new function anew.

    x1 (N1, …) and x2 (N2, …) are finite arrays of the framework, on one device with the parameters, or of NumPy. They
    are taken in the dtype of the parameters (float32 or float64); integers, for a model that embeds tokens, stay as
    they are. None for x2 means x2 = x1. The examples must not influence each other; outputs of more than one axis are
    flattened in C order to O.

    Returns the framework's array, in the dtype of the parameters and on their device: (N1, N2, O, O) for `outputs`
    "full"; (N1, N2, O), the entries a = b, for "diagonal"; (N1, N2), their sum, for "trace".

    `method` is a name of `impls.names()` that works on any function of the framework; `seed` and `options` go to it,
    as in ``method="equinox.monte_carlo", proj_dim=4096``. "auto" is `torch_func.jacobian_contraction` for PyTorch, and
    for JAX `neural_tangents.structured_derivatives`, or `equinox.exact` where neural-tangents is missing or lacks a
    rule for the network. `batch_size` (examples) blocks x1 and x2 and does not change the values; left out, methods
    that hold Jacobians get the largest that keeps these within 1 GiB. ``verbose=True`` prints what is chosen.

    Raises `InputError` for input that cannot be used, `RegistryError` for an unknown method, and `MethodNotInstalled`,
    with the remedy, for one whose package is missing.
    """
    own = _own_network(_as_network(model, params), x1, x2)
    say = print if verbose else _say_nothing

    def compute(name: str) -> Array:
        kernel = _kernel_of(name, own.framework)
        size, why = (batch_size, "as given") if batch_size is not None else _batch_size(name, own)
        say(f"ntk: {name}, batch_size={size} ({why})")
        return kernel(own.f, own.params, own.x1, own.x2,
                      Request(outputs, own.dtype, own.device, seed, size, options))

    *preferred, last = AUTO[own.framework] if method == "auto" else [method]
    for name in preferred:
        try:
            return compute(name)
        except (MethodNotInstalled, NotImplementedError) as error:
            say(f"ntk: not {name}: {error}")
    return compute(last)


def _say_nothing(_: str) -> None:
    """For verbose=False."""


def _as_network(model: Any, params: Any) -> UserNetwork:
    network = as_network(model)
    if network is not None and network.framework != "jax":
        return UserNetwork(network.framework, network.model, params)
    if isinstance(model, type) or not callable(model):
        raise InputError(f"model must be a torch.nn.Module, an Equinox module or a function f(params, x), got "
                         f"{model!r}")
    if params is None:
        raise InputError("a function needs its parameters: ntk(f, x1, params=...), called as f(params, x)")
    return UserNetwork(_framework_of(params), model, params)


def _framework_of(params: Any) -> Literal["jax", "torch"]:
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and isinstance(params, Mapping) and params and all(
            isinstance(value, torch.Tensor) for value in params.values()):
        return "torch"
    if jax is not None and any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params)):
        return "jax"
    raise InputError("params must be a dict from names to torch tensors, or a pytree of JAX arrays; got "
                     f"{type(params).__name__} without any")


def _own_network(network: UserNetwork, x1: Any, x2: Any) -> OwnNetwork:
    if network.framework == "torch":
        from impls import own_torch

        return own_torch.own_network(network, x1, x2)
    from impls import own_jax

    return own_jax.own_network(network, x1, x2)


def _kernel_of(name: str, framework: Framework) -> Callable[..., Array]:
    if (its_framework := registry.framework(name)) != framework:
        usable = [other for other in registry.names() if registry.framework(other) == framework]
        raise InputError(f"{name} works on {its_framework}, but the model is of {framework}; choose one of "
                         f"{', '.join(usable)}")
    kernel = getattr(registry.load(name), "kernel", None)
    if kernel is None:
        raise InputError(f"{name} works on the shared networks only, not on any function; leave method out")
    return kernel


def _batch_size(method: str, own: OwnNetwork) -> tuple[int | None, str]:
    """The number of examples in a block, None for all of them, and why."""
    if method not in HOLD_JACOBIANS:
        return None, "it holds no whole Jacobians"
    fits = max(1, JACOBIAN_BYTES // (2 * own.jacobian_bytes))
    reason = f"Jacobians take {own.jacobian_bytes:,} bytes an example, and two blocks of them at most 1 GiB"
    return (None if fits >= max(len(x) for x in (own.x1, own.x2) if x is not None) else fits), reason
