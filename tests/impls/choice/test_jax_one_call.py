"""One call counts in JAX too: a quickly compiled loop of backward passes where the engine would take longest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("equinox", reason="the JAX half is not installed")

import jax
import jax.numpy as jnp

from impls import ntk
from impls.choice import jax_one_call
from impls.choice.jax_one_call import ENGINE, LOOP, Outline
from impls.frameworks.jax import pulls
from reference.case import Outputs
from reference.tolerances import tolerance

SMALL = Outline(examples=3, jacobian_bytes=10**5, compiled_s=0.3, pulled_s=0.005)


def fastest(outline: Outline) -> str:
    found = jax_one_call.seconds(outline)
    return min(found, key=found.__getitem__)


def test_compilation_is_worth_it_for_many_examples_and_many_calls() -> None:
    assert fastest(SMALL) == LOOP
    assert fastest(replace(SMALL, examples=3000)) == ENGINE
    assert fastest(replace(SMALL, spent_s=5.0)) == ENGINE


def network(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params["first"]) @ params["last"]


@pytest.fixture
def inputs() -> tuple[dict[str, jax.Array], np.ndarray]:
    draw = np.random.default_rng(5)
    params = {"first": draw.standard_normal((4, 8)), "last": draw.standard_normal((8, 3))}
    return ({name: jnp.asarray(value, "float32") for name, value in params.items()},
            draw.standard_normal((5, 4)).astype("float32"))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The method of least predicted seconds, or "chosen" by the steady state."""
    out = capsys.readouterr().out
    return "chosen" if "chosen" in out else out.partition("one call of ")[2].partition(" ")[0]


@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace"])
@pytest.mark.parametrize("n2", [None, 2])
def test_the_loop_is_right(outputs: Outputs, n2: int | None, inputs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    params, x = inputs
    x2 = None if n2 is None else x[-n2:] + 1
    found = ntk(lambda p, x: network(p, x), x, x2, params=params, outputs=outputs, verbose=True)
    assert said(capsys) == LOOP
    right = ntk(network, x, x2, params=params, outputs=outputs, method="structured_jax")
    allowed = tolerance("float32") * float(jnp.abs(right).max())
    assert isinstance(found, jax.Array)
    np.testing.assert_allclose(found, right, rtol=0, atol=allowed)
    parts = ntk(lambda p, x: network(p, x), x, x2, params=params, outputs=outputs, components=True)
    assert sorted(parts) == ["first", "last"]
    np.testing.assert_allclose(sum(parts.values()), right, rtol=0, atol=allowed)


def test_a_second_call_compiles_nothing_and_a_compiled_engine_is_taken(inputs: Any, monkeypatch: pytest.MonkeyPatch,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    params, x = inputs

    def f(params: Any, x: jax.Array) -> jax.Array:
        return network(params, 3 * x)

    built = []
    make = pulls.Pulls.__init__
    monkeypatch.setattr(pulls.Pulls, "__init__", lambda *args, **named: (built.append(1), make(*args, **named))[0])
    for _ in range(3):
        ntk(f, x, params=params, verbose=True)
        assert said(capsys) == LOOP
    ntk(f, x, params={name: 2 * leaf for name, leaf in params.items()})
    assert built == [1]
    ntk(f, x, params=params, expect_calls=100)
    capsys.readouterr()
    ntk(f, x, params=params, verbose=True)
    assert said(capsys) == "chosen"


def test_rows_come_in_blocks(inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    params, x = inputs
    monkeypatch.setattr(pulls, "MOST_ROWS", 2)
    found = ntk(lambda p, x: network(p, 2 * x), x, params=params)
    right = ntk(lambda p, x: network(p, 2 * x), x, params=params, method="structured_jax", check=False)
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance("float32") * float(jnp.abs(right).max()))


def test_a_loop_of_unknown_length_has_no_backward_pass(inputs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    params, x = inputs

    def one(params: Any, x: jax.Array) -> jax.Array:
        step = network(params, x) ** 2
        return jax.lax.while_loop(lambda y: (y < 3).any(), lambda y: y + 1 + step, network(params, x))

    f = jax.vmap(one, in_axes=(None, 0))
    kernel = ntk(f, x, params=params, verbose=True)
    assert "nothing is predicted before tracing" in capsys.readouterr().out
    right = ntk(f, x, params=params, method="equinox.exact")
    np.testing.assert_allclose(kernel, right, rtol=0, atol=tolerance("float32") * float(jnp.abs(right).max()))
