"""`ntk_fn` in JAX: the proved kernel, under `jit`, `vmap` and `grad`; its gradients against differences of a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the JAX half is not installed")

import jax.numpy as jnp  # noqa: E402

from impls import ntk_fn  # noqa: E402
from impls.frameworks.jax.support import precision  # noqa: E402
from impls.networks.jax_case import functional  # noqa: E402
from impls.own.ntk_fn import METHODS  # noqa: E402
from reference import InputError, Request, case, compare, expected, tolerance  # noqa: E402
from reference.case import Outputs  # noqa: E402
from tests.differences import assert_derivative, tape_kernel, wave  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")


@pytest.mark.parametrize("method", METHODS["jax"])
@pytest.mark.parametrize(("name", "outputs"), [("mlp_gelu", "full"), ("conv_pool_dense", "diagonal"),
                                               ("mlp_gelu", "trace")])
def test_proved_kernel_and_its_gradients(name: str, outputs: Outputs, method: str) -> None:
    shared = case(name)
    with precision("float64"):
        f, params, x1, x2 = functional(shared, Request(dtype="float64"))
        kernel = ntk_fn(f, outputs=outputs, method=method)
        values = jax.jit(kernel)(params, x1, x2)
        comparison = compare(np.asarray(values), expected(shared), outputs=outputs, dtype="float64", symmetric=False)
        assert comparison.ok, comparison.reason
        weights = wave(values.shape)

        def loss(params: Any, x1: Any, x2: Any) -> Any:
            return (kernel(params, x1, x2) * weights).sum()

        gradient = jax.jit(jax.grad(loss, (0, 1, 2)))(params, x1, x2)
        alone = jax.jit(jax.grad(lambda x1: (kernel(params, x1)[:, :1] * weights[:, :1]).sum()))(x1)

    def by_tape(params: Any, x: Any) -> float:
        return float((tape_kernel(shared, params, x["x1"], x["x2"], outputs) * weights).sum())

    def by_tape_alone(x: Any) -> float:
        return float((tape_kernel(shared, shared.params, x["x1"], x["x1"][:1], outputs) * weights[:, :1]).sum())

    assert shared.x2 is not None
    assert_derivative(by_tape, (shared.params, {"x1": shared.x1, "x2": shared.x2}),
                      (gradient[0], {"x1": gradient[1], "x2": gradient[2]}))
    assert_derivative(by_tape_alone, ({"x1": shared.x1},), ({"x1": alone},))


@pytest.mark.parametrize("method", METHODS["jax"])
def test_mapped_and_differentiated_twice(method: str) -> None:
    params, x = {"w": jnp.ones((2, 3)) / 3, "scale": jnp.float32(2.0), "n": 2}, jnp.eye(2)

    def f(params: Any, x: Any) -> Any:
        return jnp.tanh(x @ params["w"]) ** params["n"] * params["scale"]

    kernel = ntk_fn(f, outputs="trace", method=method)
    right = kernel(params, x)
    rows = jax.vmap(lambda one: kernel(params, one[None], x)[0])(x)
    np.testing.assert_allclose(rows, right, rtol=tolerance("float32"))
    hessian = jax.jit(jax.hessian(lambda x1: kernel(params, x1, x)[0, 0]))(x)
    assert hessian.shape == (2, 2, 2, 2)
    assert np.asarray(hessian[0, :, 0]).any()
    assert not np.asarray(hessian[1]).any()


def test_f_may_hold_what_the_program_around_it_differentiates() -> None:
    x = jnp.arange(6.0).reshape(3, 2) / 3

    def loss(scale: Any) -> Any:
        kernel = ntk_fn(lambda w, x: jnp.tanh(scale * (x @ w)), outputs="trace")
        return kernel(jnp.ones((2, 2)), x).sum()

    step = 2.0**-6
    slope = (loss(0.75 + step) - loss(0.75 - step)) / (2 * step)
    for gradient in (jax.grad(loss)(0.75), jax.jit(jax.grad(loss))(0.75)):
        assert abs(gradient - slope) <= 4 * step**2 * abs(slope)


def test_complex_parameters_are_two_real_ones() -> None:
    w, x = jnp.asarray([[1 + 2j], [0.5 - 1j]]), jnp.asarray([[1.0, 2.0], [0.5, -1.0]])
    kernel = ntk_fn(lambda w, x: jnp.abs(x @ w) ** 2)
    values = kernel(w, x)[..., 0, 0]  # ∂|z|²/∂(re, im) = 2 z x
    z = np.asarray(x @ w)[:, 0]
    right = 4 * np.real(np.outer(z, z.conj())) * np.asarray(x @ x.T)
    np.testing.assert_allclose(values, right, rtol=tolerance("float32"))


def test_equinox_module() -> None:
    eqx = pytest.importorskip("equinox", reason="the JAX half is not installed")
    model, x = eqx.nn.MLP(2, "scalar", 3, 1, key=jax.random.key(0)), jnp.eye(2)
    kernel = ntk_fn(model, outputs="trace")
    last = jax.vmap(lambda one: model.layers[0](one))(x)
    frozen = eqx.partition(model, eqx.tree_at(lambda tree: tree.layers[1].weight, jax.tree.map(lambda _: False, model),
                                              replace=True))[0]
    hidden = np.maximum(np.asarray(last), 0)
    values = ntk_fn(model, params=frozen)(frozen, x)[..., 0, 0]
    np.testing.assert_allclose(values, hidden @ hidden.T, rtol=tolerance("float32"))
    gradient = jax.grad(lambda params: kernel(params, x).sum())(kernel.params)
    assert gradient.layers[0].weight.shape == (3, 2)


def test_errors_name_the_remedy() -> None:
    with pytest.raises(InputError, match="not one of full"):
        ntk_fn(lambda p, x: x, outputs="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="structured_jax"):
        ntk_fn(lambda p, x: x, method="nothing")
    with pytest.raises(InputError, match="no floating-point"):
        ntk_fn(lambda p, x: x)({"n": 1}, jnp.ones((2, 2)))
    with pytest.raises(InputError, match="one shape"):
        ntk_fn(lambda p, x: x @ p)(jnp.ones((2, 2)), jnp.ones((2, 2)), jnp.ones((2, 3)))
    with pytest.raises(InputError, match="several inputs"):
        ntk_fn(lambda p, x: x["a"] @ p)(jnp.ones((2, 2)), {"a": jnp.ones((2, 2))})
    with pytest.raises(InputError, match="several inputs"):
        ntk_fn(lambda p, x: x[0] @ p)(jnp.ones((2, 2)), (jnp.ones((2, 2)), jnp.ones((2, 2))))
    with pytest.raises(InputError, match="is of jax"):
        ntk_fn(lambda p, x: x @ p, method="torch_autograd.per_example")(jnp.ones((2, 2)), jnp.ones((2, 2)))
