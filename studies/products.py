"""Products of the kernel with vectors, K v = J (Jᵀ v), without the kernel and without Jacobians.

Time: a few passes over all examples each; memory: one pass and one set of gradients. For N·O of which the (N·O)² of a
kernel does not fit: `studies.spectrum.top`, conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from impls.given.user_network import UserNetwork
from impls.own.recognise import as_network
from reference import InputError

Multiply = Callable[[np.ndarray], np.ndarray]
"""v ↦ K v, from (M2,) to (M1,)."""


def kernel_operator(model: Any, x1: Any, x2: Any = None, *, params: Any = None) -> LinearOperator:
    """The full kernel of `model` on x1 (N1, …) and x2 (N2, …), by default x1, as an operator on vectors (N2·O,).

    Rows and columns are in the order (n, a). `model` is a `torch.nn.Module`, an Equinox or Flax NNX module, or
    ``f(params, x)`` of JAX or PyTorch with `params`, as `impls.ntk` takes them, in evaluation mode. Vectors are taken,
    and products given, in the dtype of the parameters. All examples pass at once. Raises `InputError` for other models.
    """
    network = as_network(model if params is None else (model, params))
    if network is None:
        raise InputError("a model for products is a torch.nn.Module, an Equinox or Flax NNX module, or f(params, x) "
                         f"with params=; got {type(model).__name__}")
    return _of_torch(network.model, x1, x2) if network.framework == "torch" else _of_jax(network, x1, x2)


def _of_jax(network: UserNetwork, x1: Any, x2: Any) -> LinearOperator:
    import jax
    import jax.numpy as jnp

    from impls.frameworks.jax import equinox
    from impls.frameworks.jax import support as jax_support
    from impls.frameworks.jax.xla import compiled

    batched = equinox.batched if network.framework == "equinox" else jax_support.trainable
    f, leaves = batched(network.model, network.params)
    left = jnp.asarray(x1)
    right = left if x2 is None else jnp.asarray(x2)

    def outputs(x: jax.Array, some: Any) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return jax_support.flat_outputs(f(some, x), len(x)).ravel()

    def multiply(some: Any, v: jax.Array) -> jax.Array:
        y, pull = jax.vjp(partial(outputs, right), some)
        return jax.jvp(partial(outputs, left), (some,), pull(v.astype(y.dtype)))[1]

    rows, columns = (jax.eval_shape(partial(outputs, x), leaves) for x in (left, right))
    program = compiled(multiply)
    return operator(lambda v: np.asarray(program(leaves, jnp.asarray(v, columns.dtype))), (rows.size, columns.size),
                    columns.dtype)


def _of_torch(module: Any, x1: Any, x2: Any) -> LinearOperator:
    import torch

    from impls.own.torch import ntk_fn as ntk_fn_torch

    f, params = ntk_fn_torch.of_module(module)
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    first = next(iter(leaves.values()))

    def examples(x: Any) -> torch.Tensor:
        moved = torch.as_tensor(x).to(first.device)
        return moved.to(first.dtype) if moved.is_floating_point() else moved

    left, right = examples(x1), None if x2 is None else examples(x2)

    def multiply(v: np.ndarray) -> np.ndarray:
        """J₁ᵀ u is linear in u, and its derivative along the gradient g is J₁ g: reverse mode alone, as in training."""
        with torch.enable_grad():
            y = f(leaves, left).flatten()
            vector = torch.as_tensor(v, dtype=y.dtype, device=y.device)
            u = vector.requires_grad_() if right is None else torch.zeros_like(y, requires_grad=True)
            gradients = _gradients(y, leaves, u, create_graph=True)
            along = gradients if right is None else _gradients(f(leaves, right).flatten(), leaves, vector)
            moved = [(g, a.detach()) for g, a in zip(gradients, along, strict=True) if g.requires_grad]
            (found,) = torch.autograd.grad([g for g, _ in moved], u, [a for _, a in moved])
        return found.detach().cpu().numpy()

    with torch.no_grad():
        sizes = [f(leaves, x).numel() for x in (left, left if right is None else right)]
    return operator(multiply, (sizes[0], sizes[1]), np.dtype(str(first.dtype).removeprefix("torch.")))


def _gradients(y: Any, leaves: dict[str, Any], cotangent: Any, *, create_graph: bool = False) -> tuple[Any, ...]:
    """Jᵀ times the cotangent by parameter; zeros for one that y does not depend on."""
    import torch

    return torch.autograd.grad(y, list(leaves.values()), cotangent, create_graph=create_graph, materialize_grads=True,
                               allow_unused=True)


def square(multiply: Multiply, size: int, dtype: Any = np.float64) -> LinearOperator:
    """The function v ↦ K v of vectors (M,) as SciPy's operator, which also takes (M, 1) and (M, k)."""
    return operator(multiply, (size, size), dtype)


def operator(multiply: Multiply, shape: tuple[int, int], dtype: Any = np.float64) -> LinearOperator:
    """Such a function from vectors (M2,) to (M1,), for shape (M1, M2)."""
    return LinearOperator(shape, matvec=lambda v: multiply(v.reshape(shape[1])),  # pyright: ignore[reportCallIssue]
                          dtype=np.dtype(dtype))  # pyright: ignore[reportCallIssue]
