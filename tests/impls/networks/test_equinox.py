"""The shared networks in plain JAX and in Equinox's layers, and what counts as a parameter of an Equinox module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp

from impls.frameworks.jax import equinox
from impls.frameworks.jax import support as jax_support
from impls.given.user_network import UserNetwork
from impls.networks import equinox as equinox_networks
from impls.networks import jax_case
from reference import Case, InputError, Request, case, cases, expected, tolerance
from reference.case import DType
from tests.naive_kernels import assert_right, jax_expected

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")


@pytest.mark.parametrize("of_case", cases(), ids=lambda case: case.name)
def test_plain_jax_has_the_proved_kernel(of_case: Case) -> None:
    f, params, x1, x2 = jax_case.functional(of_case, Request(dtype="float64"))
    kernel = jax_expected(f, params, np.asarray(x1), np.asarray(x2)).full
    assert_right(kernel, expected(of_case), "float64")


@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize("of_case", cases(), ids=lambda case: case.name)
def test_equinox_layers_compute_what_plain_jax_computes(of_case: Case, dtype: DType) -> None:
    request = Request(dtype=dtype)
    with jax_support.precision(dtype):
        plain = jax_case.functional(of_case, request)
        layers = equinox_networks.functional(of_case, request)
        y, z = jax.jit(plain.f)(plain.params, plain.x1), jax.jit(layers.f)(layers.params, layers.x1)
    assert y.dtype == z.dtype == dtype
    assert np.abs(y - z).max() < tolerance(dtype) * np.abs(y).max()


@pytest.mark.parametrize("x64", [False, True])
def test_precision_leaves_no_trace(x64: bool) -> None:
    config: Any = jax.config  # what it says here includes what holds for this thread alone
    with jax.enable_x64(x64):
        before = {name: getattr(config, name, None) for name in config.values}
        for dtype in get_args(DType):
            with jax_support.precision(dtype):
                assert config.jax_default_matmul_precision == "highest"
                assert config.jax_enable_x64 == (x64 or dtype == "float64")
            with pytest.raises(KeyError), jax_support.precision(dtype):
                raise KeyError
        assert {name: getattr(config, name, None) for name in config.values} == before


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is a CUDA device here")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(InputError, match=r"device='cuda'.*use device=\"cpu\""):
        jax_case.functional(case("mlp_relu"), Request(device="cuda"))


def test_user_function_keeps_its_integers_and_flags() -> None:
    params = {"w": jnp.ones((3, 2)), "n": jnp.arange(2), "flag": True, "steps": np.int32(3)}
    of_case = Case("own", UserNetwork("jax", lambda p, x: x @ p["w"] * p["n"] if p["flag"] else None, params), {},
                   np.ones((4, 3)))
    f, trainable, x1, _ = jax_case.functional(of_case, Request(dtype="float64"))
    assert [leaf.shape for leaf in jax.tree.leaves(trainable)] == [(3, 2)]
    with jax_support.precision("float64"):
        np.testing.assert_array_equal(f(trainable, x1), np.tile([0.0, 3.0], (4, 1)))


class Rescaled(eqx.Module):
    """A layer with an integer array, a flag and a function beside its parameters."""

    linear: eqx.nn.Linear
    shift: jax.Array
    double: bool
    activation: Callable[[jax.Array], jax.Array]

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.activation(self.linear(x)) + self.shift
        return 2 * y if self.double else y


def rescaled() -> Rescaled:
    return Rescaled(eqx.nn.Linear(3, 2, key=jax.random.key(1)), jnp.array([1, 2]), True, jnp.tanh)


def test_parameters_of_a_module_are_its_floating_point_arrays() -> None:
    f, params = equinox.batched(rescaled())
    assert sorted(leaf.shape for leaf in jax.tree.leaves(params)) == [(2,), (2, 3)]
    x = jnp.ones((4, 3))
    np.testing.assert_array_equal(f(params, x), jax.vmap(rescaled())(x))


def test_trainable_part_alone() -> None:
    model = rescaled()
    spec = eqx.tree_at(lambda m: m.linear.bias, jax.tree.map(lambda _: False, model), True)
    f, params = equinox.batched(model, eqx.partition(model, spec)[0])
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [(2,)]
    np.testing.assert_array_equal(f(params, jnp.ones((4, 3))), jax.vmap(model)(jnp.ones((4, 3))))


def test_trainable_part_of_another_structure() -> None:
    model = rescaled()
    with pytest.raises(InputError, match="no floating-point array"):
        equinox.batched(model, jax.tree.map(lambda _: True, model))
    with pytest.raises(InputError, match="structure of the model"):
        equinox.batched(model, [model.linear])


def test_dropout_is_off() -> None:
    model = eqx.nn.Sequential([eqx.nn.Linear(3, 8, key=jax.random.key(0)), eqx.nn.Dropout(0.5)])
    f, params = equinox.batched(model)
    x = jnp.ones((4, 3))
    np.testing.assert_array_equal(f(params, x), jax.vmap(model.layers[0])(x))
    assert not model.layers[1].inference
