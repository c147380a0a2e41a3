"""Products of the kernel with vectors, K v = J (Jᵀ v), without the kernel and without Jacobians.

Time: a few passes over all examples each; memory: one pass and one set of gradients. For N·O of which the (N·O)² of a
kernel does not fit: `studies.spectrum.top`, conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from impls.given.user_network import UserNetwork
from impls.own.recognise import as_network
from reference import InputError

Multiply = Callable[[np.ndarray], np.ndarray]
"""v ↦ K v, both (M,)."""


def kernel_operator(model: Any, x: Any, *, params: Any = None) -> LinearOperator:
    """The full kernel of `model` on x (N, …) with itself as an operator on vectors (N·O,), rows in the order (n, a).

    `model` is a `torch.nn.Module`, an Equinox or Flax NNX module, or ``f(params, x)`` of JAX or PyTorch with `params`,
    as `impls.ntk` takes them, in evaluation mode. Vectors are taken, and products given, in the dtype of the
    parameters. All examples pass at once. Raises `InputError` for other models.
    """
    network = as_network(model if params is None else (model, params))
    if network is None:
        raise InputError("a model for products is a torch.nn.Module, an Equinox or Flax NNX module, or f(params, x) "
                         f"with params=; got {type(model).__name__}")
    return _of_torch(network.model, x) if network.framework == "torch" else _of_jax(network, x)


def _of_jax(network: UserNetwork, x: Any) -> LinearOperator:
    import jax
    import jax.numpy as jnp

    from impls.frameworks.jax import equinox
    from impls.frameworks.jax import support as jax_support
    from impls.frameworks.jax.xla import compiled

    batched = equinox.batched if network.framework == "equinox" else jax_support.trainable
    f, leaves = batched(network.model, network.params)
    examples = jnp.asarray(x)

    def outputs(some: Any) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return jax_support.flat_outputs(f(some, examples), len(examples)).ravel()

    def multiply(some: Any, v: jax.Array) -> jax.Array:
        y, pull = jax.vjp(outputs, some)
        return jax.jvp(outputs, (some,), pull(v.astype(y.dtype)))[1]

    y = jax.eval_shape(outputs, leaves)
    program = compiled(multiply)
    return square(lambda v: np.asarray(program(leaves, jnp.asarray(v, y.dtype))), y.size, y.dtype)


def _of_torch(module: Any, x: Any) -> LinearOperator:
    import torch

    from impls.own.torch import ntk_fn as ntk_fn_torch

    f, params = ntk_fn_torch.of_module(module)
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    first = next(iter(leaves.values()))
    examples = torch.as_tensor(x).to(first.device)
    examples = examples.to(first.dtype) if examples.is_floating_point() else examples

    def multiply(v: np.ndarray) -> np.ndarray:
        """Jᵀ u is linear in u, and its derivative along the gradient g is J g: reverse mode alone, as in training."""
        with torch.enable_grad():
            y = f(leaves, examples).flatten()
            u = torch.as_tensor(v, dtype=y.dtype, device=y.device).requires_grad_()
            gradients = torch.autograd.grad(y, list(leaves.values()), u, create_graph=True, materialize_grads=True,
                                            allow_unused=True)
            moved = [g for g in gradients if g.requires_grad]
            (found,) = torch.autograd.grad(moved, u, [g.detach() for g in moved])
        return found.detach().cpu().numpy()

    with torch.no_grad():
        size = f(leaves, examples).numel()
    return square(multiply, size, np.dtype(str(first.dtype).removeprefix("torch.")))


def square(multiply: Multiply, size: int, dtype: Any = np.float64) -> LinearOperator:
    """The function v ↦ K v of vectors (M,) as SciPy's operator, which also takes (M, 1) and (M, k)."""
    return LinearOperator((size, size), matvec=lambda v: multiply(v.reshape(size)),  # pyright: ignore[reportCallIssue]
                          dtype=np.dtype(dtype))  # pyright: ignore[reportCallIssue]
