"""The JAX engine on networks as the users of each library write them, against per-example Jacobians in float64."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

jax = pytest.importorskip("jax", reason="the structured JAX engine needs JAX")

import jax.numpy as jnp  # noqa: E402

from impls.frameworks.jax.support import precision  # noqa: E402
from impls.structured.jax.engine import Engine  # noqa: E402
from tests.impls.structured.networks import Small  # noqa: E402
from tests.impls.structured.test_jax import assert_kernel, contracted, jacobians  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

KEY = jax.random.PRNGKey(5)
NO_FLAX = "Flax is not installed; pip install flax"


def images() -> Any:
    return jax.random.normal(KEY, (5, 5, 4, 2), "float64")


def assert_rules(f: Any, params: Any, x: Any, *, fallbacks: int = 0) -> None:
    """Three examples against two others, and how many parameters no rule covers."""
    engine = Engine(f, params, x[:3], x[3:], outputs="full")
    expected = contracted(*jacobians(Small(f, {}, (), {}), params, x[:3], x[3:]))
    assert_kernel(engine(params, x[:3], x[3:]), *expected, "full", "float64")
    assert sum(parameter.rule.startswith("fallback") for parameter in engine.analysis.parameters) == fallbacks


def test_flax_linen_images() -> None:
    nn = pytest.importorskip("flax.linen", reason=NO_FLAX)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.Conv(4, (3, 3), strides=(2, 1), param_dtype="float64")(x)
            x = nn.relu(nn.GroupNorm(2, param_dtype="float64")(x))
            x = nn.ConvTranspose(3, (2, 2), param_dtype="float64")(x).reshape(x.shape[0], -1, 3)
            x = nn.LayerNorm(param_dtype="float64")(x)
            x = nn.RMSNorm(param_dtype="float64")(nn.MultiHeadDotProductAttention(1, param_dtype="float64")(x))
            return nn.Dense(3, param_dtype="float64")(x.mean(1))

    with precision("float64"):
        assert_rules(Net().apply, Net().init(KEY, images()), images())


def test_flax_linen_tied_tokens() -> None:
    """An embedding that is the head as well, around a recurrent cell. The biases of the first step, where the state
    is still 0, are added to what depends on no example: those four fall back."""
    nn = pytest.importorskip("flax.linen", reason=NO_FLAX)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            tokens = nn.Embed(7, 4, param_dtype="float64")
            return tokens.attend(nn.RNN(nn.LSTMCell(4, param_dtype="float64"))(tokens(x))[:, -1])

    with precision("float64"):
        x = jax.random.randint(KEY, (5, 3), 0, 7)
        assert_rules(Net().apply, Net().init(KEY, x), x, fallbacks=4)


def test_flax_nnx() -> None:
    """In evaluation mode; the running statistics are no parameters."""
    nnx = pytest.importorskip("flax.nnx", reason=NO_FLAX)
    with precision("float64"):
        rngs = nnx.Rngs(0)
        model = nnx.Sequential(
            nnx.Conv(2, 4, (3, 3), rngs=rngs, param_dtype="float64"),
            nnx.BatchNorm(4, rngs=rngs, param_dtype="float64"), nnx.gelu,
            nnx.LayerNorm(4, rngs=rngs, param_dtype="float64"), nnx.Dropout(0.5, rngs=rngs),
            lambda x: x.mean((1, 2)), nnx.Linear(4, 3, rngs=rngs, param_dtype="float64"))
        model.eval()
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        assert_rules(lambda p, x: nnx.merge(graph, p, rest)(x), params, images())


def test_equinox() -> None:
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    from impls.frameworks.jax.equinox import batched

    class Net(eqx.Module):
        conv: Any
        norm: Any
        attention: Any
        mlp: Any

        def __init__(self, keys: Any) -> None:
            self.conv = eqx.nn.Conv2d(2, 4, 3, dilation=2, padding=2, groups=2, dtype="float64", key=keys[0])
            self.norm = eqx.nn.LayerNorm(4, dtype="float64")
            self.attention = eqx.nn.MultiheadAttention(2, 4, use_query_bias=True, dtype="float64", key=keys[1])
            self.mlp = eqx.nn.MLP(4, 3, 5, 1, dtype="float64", key=keys[2])

        def __call__(self, x: Any) -> Any:
            h = jnp.tanh(self.conv(x.transpose(2, 0, 1))).reshape(4, -1).T
            h = h + self.attention(*(jax.vmap(self.norm)(h),) * 3)
            return self.mlp(h.mean(0))

    with precision("float64"):
        f, params = batched(Net(jax.random.split(KEY, 3)))
        assert_rules(f, params, images())


def test_equinox_biases_are_carried() -> None:
    """A matrix times a vector is transposed by `vmap` before its bias is added; that moves no number."""
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed; pip install equinox")
    with precision("float64"):
        params, static = eqx.partition(eqx.nn.MLP(3, 2, 8, 2, dtype="float64", key=KEY), eqx.is_inexact_array)
        x = jax.random.normal(KEY, (5, 3), "float64")

        def f(p: Any, batch: Any) -> Any:
            return jax.vmap(eqx.combine(p, static))(batch)

        assert_rules(f, params, x)
        plan = Engine(f, params, x, None, outputs="full").plan
    assert [step.parameter.carried_by is not None for step in plan.steps] == [False, True] * 3
    assert plan.steps[-2].ways == ("top",)


@pytest.mark.skipif(find_spec("neural_tangents") is None, reason="neural-tangents is not installed")
def test_stax() -> None:
    from impls.networks import stax as stax_networks
    from reference import Request, case

    with precision("float64"):
        f, params, x1, x2 = stax_networks.functional(case("conv_pool_dense"), Request(dtype="float64"))
        assert x2 is not None
        assert_rules(f, params, jnp.concatenate([x1[:3], x2[:2]]))
