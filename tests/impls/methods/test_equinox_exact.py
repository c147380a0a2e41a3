"""`equinox.exact`: blocks, both modes, every kind of network; the gate holds it to all cases besides."""

from __future__ import annotations

import sys
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")

import jax
import jax.numpy as jnp

from impls import load
from impls.given.user_network import UserNetwork
from reference import MLP, Case, InputError, Request, case, expected, random_case, tolerance
from reference.case import DType, Outputs
from tests.naive_kernels import assert_right, jax_expected

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

METHOD: Any = load("equinox.exact")
RNG_SEED = 3


@pytest.mark.parametrize("symmetric", [False, True], ids=["x2", "symmetric"])
@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 100])
def test_blocks_of_every_size(batch_size: int | None, outputs: Outputs, symmetric: bool) -> None:
    of_case = case("mlp_gelu").with_symmetry() if symmetric else case("mlp_gelu")
    request = Request(outputs, "float64", batch_size=batch_size)
    assert_right(METHOD.prepare(of_case, request)(), expected(of_case), "float64", outputs, symmetric)


@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize("name", ["conv_explicit_padding", "conv_ntk", "mlp_few_parameters"])
def test_networks_and_dtypes(name: str, dtype: DType) -> None:
    kernel = METHOD.prepare(case(name), Request(dtype=dtype, batch_size=2))()
    assert_right(kernel, expected(case(name)), dtype)


def few_and_many(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Two parameters, four outputs on two axes."""
    return jnp.outer(jnp.sin(x[:, 0] * params["a"]), jnp.arange(1.0, 5.0) + params["b"]).reshape(-1, 2, 2)


@jax.custom_vjp
def reverse_mode_only(x: jax.Array) -> jax.Array:
    return x


reverse_mode_only.defvjp(lambda x: (x, None), lambda _, cotangent: (cotangent,))


def test_forward_mode_where_parameters_are_fewer_than_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"a": jnp.float32(0.7), "b": jnp.float32(-0.2)}
    x1, x2 = np.ones((3, 1), np.float32) * [[1.0], [2.0], [0.5]], np.array([[0.3], [0.1]])
    truth = jax_expected(few_and_many, params, x1, x2)
    given = jnp.asarray(x1, "float32"), jnp.asarray(x2, "float32"), Request()
    # Where JAX has no forward mode, reverse mode it is.
    assert_right(METHOD.kernel(lambda p, x: reverse_mode_only(few_and_many(p, x)), params, *given), truth, "float32")
    monkeypatch.setattr(jax, "jacrev", None)
    assert_right(METHOD.kernel(few_and_many, params, *given), truth, "float32")


def doubled_until_large(params: jax.Array, x: jax.Array) -> jax.Array:
    return jax.lax.while_loop(lambda h: jnp.abs(h).max() < 9.0, lambda h: 2 * h, x @ params)


def test_a_loop_of_unknown_length_is_passed_in_forward_mode() -> None:
    params, x = np.arange(1.0, 13.0).reshape(4, 3) / 7, np.array([[0.1, 0.2, -0.3, 0.4], [2.0, 1.0, 0.5, -0.5]])
    number = np.array([next(n for n in range(9) if abs(row @ params * 2.0**n).max() >= 9.0) for row in x])
    for method in ("equinox.exact", "structured_jax"):
        kernel: Any = load(method)
        kernel = kernel.kernel(doubled_until_large, jnp.asarray(params, "float32"), jnp.asarray(x, "float32"), None,
                               Request("trace"))
        right = 3 * (x @ x.T) * np.outer(2.0**number, 2.0**number)
        assert abs(kernel - right).max() <= tolerance("float32") * abs(right).max()
    method: Any = load("neural_tangents.jacobian_contraction")
    with pytest.raises(NotImplementedError, match="loop of unknown length"):
        method.kernel(doubled_until_large, jnp.asarray(params, "float32"), jnp.asarray(x, "float32"), None, Request())


def test_traced_once_for_each_shape_of_block() -> None:
    traces = []

    def f(params: jax.Array, x: jax.Array) -> jax.Array:
        traces.append(x.shape)
        return jnp.tanh(x @ params)

    x = jnp.asarray(np.random.default_rng(RNG_SEED).standard_normal((7, 4)), "float32")
    kernels = [METHOD.kernel(f, scale * jnp.ones((4, 3)), x, None, Request(batch_size=3)) for scale in (0.1, 0.2)]
    assert len(traces) <= 4  # two shapes of blocks, each traced for the number of outputs and for the Jacobian
    for scale, kernel in zip((0.1, 0.2), kernels, strict=True):  # the parameters are no constants of the first call
        truth = jax_expected(lambda p, x: jnp.tanh(x @ p), scale * jnp.ones((4, 3)), np.asarray(x), None)
        assert_right(kernel, truth, "float32", symmetric=True)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("dtype", get_args(DType))
def test_dtype_whatever_the_ambient_precision(dtype: DType, x64: bool) -> None:
    of_case = case("mlp_tanh_ntk")
    with jax.enable_x64(x64):
        kernel = METHOD.prepare(of_case, Request(dtype=dtype))()
        assert jnp.ones(1, float).dtype == ("float64" if x64 else "float32")
    assert_right(kernel, expected(of_case), dtype)


def test_function_of_the_user() -> None:
    params = {"w": np.full((4, 2), 0.5), "step": np.int32(7)}
    x = np.random.default_rng(RNG_SEED).standard_normal((5, 4)).astype("float32").astype("float64")
    of_case = Case("own", UserNetwork("jax", lambda p, x: jnp.sin(x @ p["w"]), params), {}, x)
    kernel = METHOD.prepare(of_case, Request("trace", "float64", batch_size=2))()
    truth = jax_expected(lambda p, x: jnp.sin(x @ p), params["w"], x, None)
    assert_right(kernel, truth, "float64", "trace", symmetric=True)


def test_model_of_pytorch_needs_what_crosses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/impls/frameworks/test_crossing.py holds its kernel against PyTorch's own."""
    of_case = Case("own", UserNetwork("torch", object()), {}, np.ones((2, 3)))
    monkeypatch.setitem(sys.modules, "torchax", None)  # as if it were not installed
    assert "torchax is not installed" in METHOD.unsupported(of_case, Request())


def test_unknown_option() -> None:
    with pytest.raises(InputError, match="no option 'proj_dim'; it takes no options"):
        METHOD.prepare(random_case("any", MLP((2, 3)), 2, None), Request(options={"proj_dim": 3}))()


NOT_BATCHED = {
    "no batch axis": (lambda params, x: (x @ params).sum(), "returns shape"),
    "two arrays": (lambda params, x: (x @ params, x), "must return one array, got tuple"),
    "integers": (lambda params, x: jnp.argmax(x @ params, axis=1), "returns int32"),
}


@pytest.mark.parametrize("what", NOT_BATCHED)
def test_refused_with_a_reason(what: str) -> None:
    f, message = NOT_BATCHED[what]
    with pytest.raises(InputError, match=message):
        METHOD.kernel(f, jnp.ones((3, 2)), jnp.ones((4, 3)), None, Request())
