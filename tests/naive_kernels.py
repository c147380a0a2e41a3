"""The kernel from whole Jacobians in float64, by NumPy: what the kernels of one's own networks are held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from impls.frameworks.arrays import to_numpy
from reference import Expected, compare
from reference.case import DType, Outputs


def jax_expected(f: Callable[..., Any], params: Any, x1: np.ndarray, x2: np.ndarray | None) -> Expected:
    """Of a batched ``f(params, x)``; every leaf of `params` is a parameter. x1 and x2 as one batch: one program."""
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, "float64"), params)
        derivative = jax.jit(jax.jacrev(lambda p, x: f(p, x).reshape(len(x), -1)))

        def jacobian(x: np.ndarray) -> np.ndarray:
            leaves = jax.tree.leaves(derivative(params, jnp.asarray(x, "float64" if x.dtype.kind == "f" else None)))
            return np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=-1)

        if x2 is None:
            return from_jacobians(*[jacobian(x1)] * 2)
        both = jacobian(np.concatenate([x1, x2]))
        return from_jacobians(both[:len(x1)], both[len(x1):])


def torch_expected(f: Callable[..., Any], params: Any, x1: np.ndarray, x2: np.ndarray | None) -> Expected:
    """Of a batched ``f(params, x)``; `params` is a dict whose values are all parameters, and `f` takes float64."""
    import torch

    params = {name: param.detach().double() for name, param in params.items()}

    def jacobian(x: np.ndarray) -> np.ndarray:
        inputs = torch.tensor(x, dtype=torch.float64)
        jacobians = torch.func.jacrev(lambda p: f(p, inputs).reshape(len(x), -1))(params)
        return np.concatenate([leaf.detach().flatten(2).numpy() for leaf in jacobians.values()], axis=-1)

    return from_jacobians(jacobian(x1), jacobian(x1 if x2 is None else x2))


def assert_right(kernel: Any, expected: Expected, dtype: DType, outputs: Outputs = "full",
                 symmetric: bool = False) -> None:
    """`kernel`, a framework's own array, agrees with `expected` within the table's tolerance."""
    result = compare(to_numpy(kernel), expected, outputs=outputs, dtype=dtype, symmetric=symmetric)
    assert result.ok, result.reason


def from_jacobians(jacobian1: np.ndarray, jacobian2: np.ndarray) -> Expected:
    """Of (N1, O, P) and (N2, O, P)."""
    block1, block2 = (np.einsum("nap,nbp->nab", jacobian, jacobian) for jacobian in (jacobian1, jacobian2))
    full = np.einsum("nap,mbp->nmab", jacobian1, jacobian2, optimize=True)  # or it is no matrix product
    return Expected(full, block1, block2, "Jacobians by NumPy")
