"""The JAX engine in forward mode: many outputs, few parameters."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

jax = pytest.importorskip("jax", reason="the structured JAX engine needs JAX")

import jax.numpy as jnp  # noqa: E402

from impls.frameworks.jax.support import precision  # noqa: E402
from impls.structured.jax.engine import Engine  # noqa: E402
from tests.impls.structured.networks import Small, custom_rules  # noqa: E402
from tests.impls.structured.test_jax import OUTPUTS, assert_kernel, contracted, jacobians  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")


def painter(side: int, p: dict[str, Any], x: Any) -> Any:
    """An image in 3 colours of each example; some parameters are used twice."""
    h = jnp.tanh(x @ p["w"] + p["b"])
    places = jnp.stack(jnp.meshgrid(*[jnp.linspace(-1, 1, side)] * 2), -1).reshape(-1, 2)
    h = jnp.sin(h[:, None] + places @ p["place"])
    return jnp.exp(p["t"]) * (jnp.cos(h @ p["again"] + p["b"]) @ p["out"]) + h @ p["out"]


def painter_of(side: int, inputs: int) -> Small:
    shapes = {"w": (inputs, 10), "b": (10,), "place": (2, 10), "again": (10, 10), "out": (10, 3), "t": ()}
    return Small(partial(painter, side), shapes, (inputs,), {})


WIDE_RULES = Small(lambda p, x: jnp.tile(custom_rules(p, x), 40), {"a": (5, 4), "b": (4, 4), "c": (4, 2)}, (5,), {})


def test_many_outputs_and_few_parameters() -> None:
    small = painter_of(20, 20)
    with precision("float64"):
        params, x1, x2 = small.draw(1, 1, "float64")
        j1, j2 = jacobians(small, params, x1, x2)
        assert j1.shape[1:] == (1200, 361)
        expected = contracted(j1, j2)
        for outputs in OUTPUTS:
            engine = Engine(small.f, params, x1, x2, outputs=outputs)
            assert engine.plan.forward
            assert_kernel(engine(params, x1, x2), *expected, outputs, "float64")


@pytest.mark.parametrize(("outputs", "settings"), [("full", {}), ("diagonal", {"batch_size": 2}),
                                                   ("trace", {"apart": True})])
def test_panels_and_components(outputs: Any, settings: Any) -> None:
    small = painter_of(12, 2)
    with precision("float64"):
        params, x1, x2 = small.draw(5, 3, "float64")
        j1, j2 = jacobians(small, params, x1, x2)
        for right, j in ((None, j1), (x2, j2)):
            engine = Engine(small.f, params, x1, right, outputs=outputs, **settings)
            assert engine.plan.forward
            kernel = sum(engine.components(params, x1, right).values()) if engine.apart else engine(params, x1, right)
            assert_kernel(kernel, *contracted(j1, j), outputs, "float64")


def test_what_has_no_forward_mode_is_planned_in_reverse() -> None:
    with precision("float64"):
        params, x1, x2 = WIDE_RULES.draw(2, 2, "float64")
        j1, j2 = jacobians(WIDE_RULES, params, x1, x2)
        engine = Engine(WIDE_RULES.f, params, x1, x2, outputs="full")
        assert not engine.plan.forward
        assert_kernel(engine(params, x1, x2), *contracted(j1, j2), "full", "float64")
