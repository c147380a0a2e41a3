"""What the user has switched on around a call in JAX changes no number, and stays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the JAX half is not installed")
eqx = pytest.importorskip("equinox", reason="the JAX half is not installed")

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from reference.tolerances import tolerance  # noqa: E402
from studies.outputs import outputs  # noqa: E402

SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "ranks": lambda: jax.numpy_rank_promotion("raise"),
    "transfers": lambda: jax.transfer_guard("disallow"),
    "debug_nans": lambda: jax.debug_nans(True),
}


def network(params: Any, x: Any) -> Any:
    return jax.numpy.tanh(x @ params["w"] + params["b"]) @ params["v"]


def params(dtype: str = "float32") -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {name: draw.standard_normal(shape).astype(dtype) for name, shape in (("w", (4, 6)), ("b", 6), ("v", (6, 2)))}


X = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)

WAYS: dict[str, Callable[[], Any]] = {
    "structured_jax": lambda: impls.ntk(network, X, params=params(), method="structured_jax"),
    "exact": lambda: impls.ntk(network, X, params=params(), method="equinox.exact"),
    "pairs": lambda: impls.ntk(network, X, params=params(), pairs="same"),
    "ntk_fn": lambda: impls.ntk_fn(network)(params(), X),
    "operator": lambda: impls.ntk_operator(network, X, params=params()) @ np.ones(6, "float32"),
}


@pytest.mark.parametrize("name", WAYS)
def test_around(name: str) -> None:
    right = to_numpy(WAYS[name]())
    for around in SURROUNDINGS.values():
        with around():
            found = WAYS[name]()
        assert np.abs(to_numpy(found) - right).max() <= tolerance("float32") * np.abs(right).max()


def test_parameters_of_float64_where_jax_has_none() -> None:
    """They were made where it has; a function of them was computed in float32, and an Equinox module not at all."""
    with jax.enable_x64(True):
        wide, x = jax.tree.map(jax.numpy.asarray, params("float64")), jax.numpy.asarray(X, "float64")
        module = jax.tree.map(lambda leaf: leaf.astype("float64") if eqx.is_inexact_array(leaf) else leaf,
                              eqx.nn.MLP(4, 2, 5, 1, key=jax.random.key(0)))

        def ways() -> list[Any]:
            return [impls.ntk_fn(network)(wide, x), outputs(network, x, params=wide), outputs(module, x),
                    impls.conjugate(module, x, layer="layers.0")]

        right = [to_numpy(each) for each in ways()]
    for found, due in zip(ways(), right, strict=True):
        assert found.dtype == "float64"
        assert np.abs(to_numpy(found) - due).max() <= tolerance("float64") * np.abs(due).max()
