"""Separable cotangents in the JAX engine: found where they are and nowhere else, and contracted exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the structured JAX engine needs JAX")

import jax.numpy as jnp  # noqa: E402

from impls.frameworks.jax.support import precision  # noqa: E402
from impls.methods.structured_jax import METHODS  # noqa: E402
from impls.structured.explain import explain  # noqa: E402
from impls.structured.jax.engine import Engine  # noqa: E402
from reference import Request  # noqa: E402
from tests.impls.structured.networks import Small  # noqa: E402
from tests.impls.structured.test_jax import OUTPUTS, assert_kernel, contracted, jacobians  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

HEAD = {"out": (6, 3), "b_out": (3,)}


@jax.custom_vjp
def mixing(x: Any) -> Any:
    """Number by number, with a derivative that is not."""
    return x * 2


mixing.defvjp(lambda x: (x * 2, None), lambda _, g: (g[..., ::-1] * 2,))


@jax.custom_jvp
def halved(x: Any) -> Any:
    """With a derivative of its own, number by number as well."""
    return jnp.where(x > 0, x, 0.0)


halved.defjvp(lambda xs, ts: (halved(*xs), jnp.where(xs[0] > 0, 0.5, 0.1) * ts[0]))


def head(p: Any, h: Any) -> Any:
    return h @ p["out"] + p["b_out"]


def two_heads(p: Any, h: Any) -> Any:
    return jnp.concatenate([head(p, h), 2 * h[:, :2]], 1)[:, 1:]


def images(tail: Callable[[Any, Any], Any], groups: int = 1, **shapes: tuple[int, ...]) -> Small:
    """`tail` behind two convolutions, on (N, 4, 3, 6)."""
    numbers = ("NHWC", "HWIO", "NHWC")

    def f(p: Any, x: Any) -> Any:
        x = jnp.tanh(jax.lax.conv_general_dilated(x, p["first"], (1, 1), "VALID", dimension_numbers=numbers))
        x = jax.lax.conv_general_dilated(x, p["last"], (1, 1), "SAME", dimension_numbers=numbers,
                                         feature_group_count=groups)
        return tail(p, x + p["b"])

    return Small(f, {"first": (2, 2, 2, 4), "last": (3, 3, 4 // groups, 6), "b": (6,), **shapes}, (5, 4, 2), {})


def tokens(tail: Callable[[Any, Any], Any], **shapes: tuple[int, ...]) -> Small:
    """`tail` behind two dense layers, on (N, 4, 6)."""
    return Small(lambda p, x: tail(p, jnp.tanh(x @ p["first"]) @ p["last"] + p["b"]),
                 {"first": (3, 5), "last": (5, 6), "b": (6,), **shapes}, (4, 3), {})


def vectors(tail: Callable[[Any, Any], Any], **shapes: tuple[int, ...]) -> Small:
    """`tail` behind two dense layers, on (N, 6)."""
    return tokens(tail, **shapes)._replace(example=(3,))


SEPARABLE = {
    "pool": images(lambda p, h: head(p, jax.nn.relu(h).mean((1, 2))), **HEAD),
    "pool_groups": images(lambda p, h: head(p, jax.nn.silu(h).mean((1, 2))), groups=2, **HEAD),
    "pool_scaled": images(lambda p, h: head(p, (h * p["s"]).clip(-1).sum((1, 2))), s=(6,), **HEAD),
    "pool_of_products": images(lambda p, h: head(p, (jax.nn.gelu(h) * p["places"]).mean((1, 2))), places=(4, 3, 1),
                               **HEAD),
    "pool_residual": images(lambda p, h: head(p, jax.nn.relu(h + p["first"].sum()).mean((1, 2))), **HEAD),
    "pool_in_two_steps": images(lambda p, h: head(p, -jnp.sin(h).mean(2).transpose(0, 2, 1).sum(2) / 3), **HEAD),
    "pool_before_two_heads": images(lambda p, h: two_heads(p, jnp.tanh(h).mean((1, 2))), **HEAD),
    "pool_before_linear_layers": images(lambda p, h: head(p, jnp.tanh(h).mean((1, 2)) @ p["inner"]), inner=(6, 6),
                                        **HEAD),
    "pool_before_parts": images(lambda p, h: jnp.concatenate(
        jnp.split(head(p, jnp.tanh(h).mean((1, 2))), 3, 1)[::2], 1), **HEAD),
    "pool_before_padding": images(lambda p, h: jnp.pad(head(p, jnp.tanh(h).mean((1, 2))), ((0, 0), (1, 2))), **HEAD),
    "mean_of_tokens": tokens(lambda p, h: head(p, jax.nn.softplus(h).mean(1)), **HEAD),
    "mean_of_turned_tokens": tokens(lambda p, h: head(p, jnp.tanh(h.swapaxes(1, 2).reshape(len(h), 24)).reshape(
        len(h), 6, 4).sum(2)), **HEAD),
    "vector": vectors(lambda p, h: head(p, jax.nn.relu(h)), **HEAD),
    "vector_scaled": vectors(lambda p, h: head(p, jax.nn.elu(h) * p["s"]), s=(6,), **HEAD),
    "own_derivative": vectors(lambda p, h: head(p, halved(h)), **HEAD),
}

NOT_SEPARABLE = {
    "pool_before_its_cut": images(lambda p, h: head(p, jnp.concatenate(
        [jnp.tanh(h).mean((1, 2)), jnp.tanh(h)[:, 0, 0]], 1)[:, 3:9]), **HEAD),
    "pool_of_a_part": images(lambda p, h: head(p, jax.nn.relu(h)[:, 1:].mean((1, 2))), **HEAD),
    "pool_of_the_largest": images(lambda p, h: head(p, h.max((1, 2))), **HEAD),
    "weights_of_places": images(lambda p, h: head(p, jnp.einsum("nhwc,hw->nc", jnp.tanh(h), p["places"])),
                                places=(4, 3), **HEAD),
    "flat_head": images(lambda p, h: jnp.tanh(h).reshape(len(h), -1) @ p["flat"], flat=(72, 3)),
    "another_layer": images(lambda p, h: head(p, jnp.tanh(jnp.tanh(h).mean((1, 2)) @ p["inner"])), inner=(6, 6),
                            **HEAD),
    "softmax": images(lambda p, h: jax.nn.softmax(head(p, jax.nn.relu(h).mean((1, 2)))), **HEAD),
    "two_ways": images(lambda p, h: head(p, jax.nn.relu(h).mean((1, 2))) + jnp.tanh(h).mean((1, 2))[:, :3], **HEAD),
    "two_ways_of_one": images(lambda p, h: head(p, (h + jnp.tanh(h[:, ::-1])).mean((1, 2))), **HEAD),
    "gated_by_all": images(lambda p, h: head(p, (h * jnp.tanh(h.mean((1, 2), keepdims=True))).mean((1, 2))), **HEAD),
    "gated_by_the_example": vectors(lambda p, h: head(p, jnp.tanh(h)) * jax.lax.stop_gradient(h[:, :1]), **HEAD),
    "layer_norm": tokens(lambda p, h: head(p, jax.nn.standardize(h).mean(1)), **HEAD),
    "tied_head": vectors(lambda p, h: jnp.tanh(h) @ p["last"].T),
    "outputs_for_each_token": tokens(lambda p, h: head(p, jnp.tanh(h)), **HEAD),
    "squared": vectors(lambda p, h: head(p, jnp.tanh(h)) ** 2, **HEAD),
    "fourier_over_places": tokens(lambda p, h: head(p, jnp.fft.fft(jnp.tanh(h), axis=1).real.mean(1)), **HEAD),
    "complex_factor": tokens(lambda p, h: head(p, (h * (1 + 2j)).real.sum(1)), **HEAD),
    "spectrum": tokens(lambda p, h: head(p, jnp.abs(jnp.fft.fft(jax.nn.gelu(h), axis=1)).mean(1)), **HEAD),
    "conjugated": vectors(lambda p, h: head(p, jnp.imag(jnp.conj(jax.lax.complex(h, h[:, ::-1])) ** 2)), **HEAD),
    "filtered": tokens(lambda p, h: head(p, jnp.fft.irfft(jnp.fft.rfft(h, axis=1) * (1 + 0.5j), n=4, axis=1).sum(1)),
                       **HEAD),
    "own_derivative_of_several": vectors(lambda p, h: head(p, mixing(h)), **HEAD),
}

ALL = SEPARABLE | NOT_SEPARABLE


@pytest.mark.parametrize("name", ALL)
def test_found_where_it_is(name: str, separated: None) -> None:
    params, x1, _ = ALL[name].draw(3, 2, "float32")
    steps = Engine(ALL[name].f, params, x1, None, outputs="full").plan.steps
    (last,) = [step for step in steps if step.parameter.name == "last"]
    assert (last.ways == ("separable",)) is (name in SEPARABLE)
    assert last.parameter.products


@pytest.mark.parametrize("name", ALL)
def test_kernel(name: str, separated: None) -> None:
    small = ALL[name]
    with precision("float64"):
        params, x1, x2 = small.draw(5, 3, "float64")
        j1, j2 = jacobians(small, params, x1, x2)
        kernel = Engine(small.f, params, x1, x2, outputs="full")(params, x1, x2)
        assert_kernel(kernel, *contracted(j1, j2), "full", "float64")
        for outputs in OUTPUTS if name in SEPARABLE else ():
            kernel = Engine(small.f, params, x1, None, outputs=outputs)(params, x1, None)
            assert_kernel(kernel, *contracted(j1, j1), outputs, "float64")


@pytest.mark.parametrize("limits", [{"batch_size": 2}, {"memory_limit": 20_000}], ids=["batch_size", "memory_limit"])
@pytest.mark.parametrize("name", ["pool", "pool_scaled", "mean_of_tokens", "vector"])
def test_blocks(name: str, limits: dict[str, int], separated: None) -> None:
    small = SEPARABLE[name]
    with precision("float64"):
        params, x1, x2 = small.draw(5, 3, "float64")
        j1, j2 = jacobians(small, params, x1, x2)
        for other, right in ((None, j1), (x2, j2)):
            engine = Engine(small.f, params, x1, other, outputs="full", **limits)  # pyright: ignore[reportArgumentType]
            assert_kernel(engine(params, x1, other), *contracted(j1, right), "full", "float64")


@pytest.mark.parametrize("name", ["pool", "mean_of_tokens", "vector"])
def test_components(name: str, separated: None) -> None:
    small = SEPARABLE[name]
    with precision("float64"):
        params, x1, x2 = small.draw(5, 3, "float64")
        parts = METHODS[0].components(small.f, params, x1, None, Request(dtype="float64"))
        for part in params:
            alone = small._replace(f=lambda p, x, part=part: small.f({**params, part: p[part]}, x))
            j1, _ = jacobians(alone, params, x1, x2)
            full, scale = contracted(j1, j1)
            assert_kernel(parts[part], full, scale, "full", "float64")


def test_several_blocks(separated: None) -> None:
    """Enough examples for a symmetric kernel to be cut."""
    small = Small(lambda p, x: jnp.tanh(x @ p["last"]) @ p["out"], {"last": (30, 2000), "out": (2000, 8)}, (30,), {})
    with precision("float64"):
        params, x1, x2 = small.draw(50, 1, "float64")
        j1, _ = jacobians(small, params, x1, x2)
        truth = contracted(j1, j1)
        for outputs in OUTPUTS:
            engine = Engine(small.f, params, x1, None, outputs=outputs)
            assert (engine.plan.block1 < 50) is (outputs == "full")
            assert_kernel(engine(params, x1, None), *truth, outputs, "float64")


def test_chosen_where_it_pays() -> None:
    small = images(lambda p, h: head(p, jax.nn.relu(h).mean((1, 2))), **HEAD)
    params, x1, _ = small.draw(16, 1, "float32")
    plan = Engine(small.f, params, x1, None, outputs="full").plan
    ways = {step.parameter.name: step.ways for step in plan.steps if step.ways}
    assert ways == {"first": ("gradient",), "last": ("separable",), "out": ("top",)}
    (row,) = [line.split() for line in explain(plan).splitlines() if line.startswith("last")]
    assert row[3] == "separable"
    assert np.isclose(float(row[4]), next(s.flops for s in plan.steps if s.parameter.name == "last"), rtol=0.01)
