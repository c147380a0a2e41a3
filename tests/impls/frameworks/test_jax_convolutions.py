"""Convolutions on which XLA for the CPU ends the process are refused, and those of the shared networks go round it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")

import jax
import jax.numpy as jnp

import impls
from impls.frameworks.arrays import to_numpy
from impls.frameworks.jax.convolutions import Axis, ending_the_process, ends_the_process
from reference import Conv, ConvNet, Described, InputError, Layered, Request, compare, random_case
from reference.layers import Activate, Convolution, GlobalPool
from tests.gate.subject import tape

GRADIENT = """
import jax
import jax.numpy as jnp

def f(x, w):
    return jnp.sin(jax.lax.conv_general_dilated(x, w, (2, 1), ((1, 1), (0, 0)))).sum()

jax.jit(jax.grad(f)).lower(jnp.ones((1, 2, 6, 5)), jnp.ones((3, 2, 2, 4))).compile()
"""


@pytest.mark.skipif(version("jaxlib") != "0.10.2", reason="known of jaxlib 0.10.2")
def test_xla_ends_the_process() -> None:
    """Where it no longer does, impls.frameworks.jax.convolutions has no more to go round."""
    child = subprocess.run([sys.executable, "-c", GRADIENT], capture_output=True, text=True,
                           env={"JAX_PLATFORMS": "cpu"})
    assert child.returncode != 0
    assert "Window dimensions do not match RHS shape" in child.stderr


def axes(kernel: tuple[int, ...], stride: tuple[int, ...], padding: Any, size: tuple[int, ...]) -> list[Axis]:
    each = zip(size, kernel, stride, padding, strict=True)
    return [Axis(n, k, s, p, dilation=1, spread=1) for n, k, s, p in each]


@pytest.mark.parametrize(("kernel", "stride", "padding", "size", "ends"), [
    ((2, 4), (2, 1), ((1, 1), (0, 0)), (6, 5), True),
    ((2, 3), (2, 3), ((1, 1), (1, 1)), (4, 3), True),
    ((3, 2, 2), (2, 2, 2), ((1, 0), (0, 1), (1, 1)), (3, 6, 4), True),
    ((2, 4), (2, 1), ((1, 1), (0, 0)), (6, 9), False),  # the kernel is not larger than the outputs
    ((2, 4), (2, 3), ((1, 1), (1, 1)), (2, 3), False),  # as many outputs as steps of the kernel
    ((2, 2), (2, 3), ((1, 1), (0, 0)), (6, 2), False),  # one output, of all of the input
    ((2, 4), (2, 1), ((1, 0), (0, 0)), (6, 5), False),
    ((3, 4), (3, 1), ((1, 1), (0, 0)), (6, 5), False),
])
def test_where_jaxlib_0_10_2_was_seen_to_end(kernel: Any, stride: Any, padding: Any, size: Any, ends: bool) -> None:
    """Each was compiled in a process of its own; so were 290 drawn ones, of which 40 ended it, as they were to."""
    assert ends_the_process([axis.of_gradient for axis in axes(kernel, stride, padding, size)]) == ends

    def f(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, w, stride, padding)

    traced = jax.make_jaxpr(jax.jit(f))(np.zeros((1, 2, *size)), np.zeros((3, 2, *kernel)))
    assert any(ending_the_process(traced.jaxpr)) == ends


def padding_first(before: bool) -> Any:
    def f(params: Any, x: jax.Array) -> jax.Array:
        x = jnp.tanh(jax.lax.conv_general_dilated(x, params["first"], (1, 1), "SAME"))
        zeros = ((1, 1), (0, 0))
        x, left = (jnp.pad(x, ((0, 0), (0, 0), *zeros)), ((0, 0), (0, 0))) if before else (x, zeros)
        return jnp.tanh(jax.lax.conv_general_dilated(x, params["second"], (2, 1), left)).sum((2, 3))

    return f


@pytest.mark.parametrize("method", ["auto", "equinox.exact", "structured_jax"])
def test_a_users_network_is_refused_with_a_remedy_that_serves(method: str) -> None:
    rng = np.random.default_rng(0)
    params = {"first": rng.standard_normal((2, 1, 1, 1), np.float32),
              "second": rng.standard_normal((3, 2, 2, 4), np.float32)}
    x = rng.standard_normal((2, 1, 6, 5), np.float32)
    with pytest.raises(InputError, match=r"\(6, 5\) by a kernel of \(2, 4\), with strides of \(2, 1\).*jnp\.pad"):
        impls.ntk(padding_first(before=False), x, params=params, method=method)
    assert np.isfinite(to_numpy(impls.ntk(padding_first(before=True), x, params=params, method=method))).all()


CONV_NET = ConvNet((1, 6, 5), (Conv(2, (1, 1)), Conv(3, (2, 4), (2, 1), (1, 0))), (3,), "global", "tanh")
LAYERED = Layered((1, 6, 5), (Convolution("first", 2, (1, 1)), Activate("tanh"),
                              Convolution("second", 3, (2, 4), (2, 1), (1, 0)), Activate("tanh"), GlobalPool()))


@pytest.mark.parametrize("network", [CONV_NET, LAYERED], ids=["ConvNet", "Layered"])
@pytest.mark.parametrize("method", ["equinox.exact", "structured_jax", "neural_tangents.jacobian_contraction"])
def test_the_shared_networks_go_round_it(method: str, network: Described) -> None:
    case = random_case("padded", network, 2, 3)
    kernel = to_numpy(impls.load(method).prepare(case, Request(dtype="float64"))())
    found = compare(kernel, tape(case), outputs="full", dtype="float64", symmetric=False)
    assert found.ok, found.reason
