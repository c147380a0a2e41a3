"""The JAX engine against per-example Jacobians, on every way that a parameter may enter a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reference.tolerances import tolerance

jax = pytest.importorskip("jax", reason="the structured JAX engine needs JAX")

from impls.jax_support import precision  # noqa: E402
from impls.structured.jax_engine import Engine  # noqa: E402
from tests.structured_networks import NETWORKS, Small  # noqa: E402

OUTPUTS = ("full", "diagonal", "trace")


def jacobian_contraction(small: Small, params: Any, x1: Any, x2: Any) -> np.ndarray:
    """The full kernel from Jacobians in plain JAX."""
    def jacobian(x: Any) -> np.ndarray:
        jacobian_of = jax.jacfwd if small.forward_only else jax.jacrev
        of_one = jacobian_of(lambda p, one: small.f(p, one[None])[0].reshape(-1))
        per_parameter = jax.jit(jax.vmap(of_one, (None, 0)))(params, x)
        return np.concatenate([np.asarray(j, np.float64).reshape(*j.shape[:2], -1) for j in jax.tree.leaves(per_parameter)], 2)

    return np.einsum("nap,mbp->nmab", jacobian(x1), jacobian(x2))


def assert_kernel(kernel: Any, full: np.ndarray, scale: np.ndarray, outputs: str, dtype: str) -> None:
    """`scale` (N1, N2, O, O): what errors are measured against."""
    if outputs != "full":
        full, scale = (np.diagonal(t, axis1=2, axis2=3) for t in (full, scale))
    if outputs == "trace":
        full, scale = full.sum(-1), scale.sum(-1)
    assert kernel.shape == full.shape
    assert kernel.dtype == dtype
    error = np.abs(np.asarray(kernel, np.float64) - full) / np.where(scale > 0, scale, 1.0)
    assert error.max() <= tolerance(dtype, "exact")  # pyright: ignore[reportArgumentType]


def scale_of(full1: np.ndarray, full2: np.ndarray) -> np.ndarray:
    """√(K[n,n,a,a] K[m,m,b,b]) from the symmetric kernels of both batches."""
    own = [np.sqrt(np.einsum("nnaa->na", full)) for full in (full1, full2)]
    return own[0][:, None, :, None] * own[1][None, :, None, :]


def all_kernels(name: str, dtype: str) -> tuple[Any, Any, Any, Any, dict[bool, tuple[np.ndarray, np.ndarray]]]:
    """The network with its batches, and by symmetry the right kernel and its scale, from float64."""
    small = NETWORKS[name]
    params, x1, x2 = small.draw(5, 3, dtype)
    with precision("float64"):
        exact = [jax.tree.map(lambda a: a.astype("float64") if a.dtype.kind == "f" else a, t) for t in (params, x1, x2)]
        own1, own2, full = (jacobian_contraction(small, exact[0], *pair) for pair in
                            ((exact[1], exact[1]), (exact[2], exact[2]), (exact[1], exact[2])))
    return small.f, params, x1, x2, {True: (own1, scale_of(own1, own1)), False: (full, scale_of(own1, own2))}


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule_in_float64(name: str, symmetric: bool) -> None:
    with precision("float64"):
        f, params, x1, x2, expected = all_kernels(name, "float64")
        for outputs in OUTPUTS:
            engine = Engine(f, params, x1, None if symmetric else x2, outputs=outputs)
            assert_kernel(engine(params, x1, None if symmetric else x2), *expected[symmetric], outputs, "float64")


@pytest.mark.parametrize("name", NETWORKS)
def test_expected_rules(name: str) -> None:
    small = NETWORKS[name]
    params, x1, _ = small.draw(2, 2, "float32")
    found = {parameter.name: parameter.rule for parameter in Engine(small.f, params, x1, None, outputs="full").analysis.parameters}
    assert {name: found[name].partition(":")[0] for name in small.rules} == small.rules


@pytest.mark.parametrize("name", ["mlp", "attention", "conv2d", "tied_embedding", "recurrent"])
@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
def test_float32(name: str, symmetric: bool) -> None:
    with precision("float32"):
        f, params, x1, x2, expected = all_kernels(name, "float32")
        for outputs in OUTPUTS:
            engine = Engine(f, params, x1, None if symmetric else x2, outputs=outputs)
            assert_kernel(engine(params, x1, None if symmetric else x2), *expected[symmetric], outputs, "float32")
