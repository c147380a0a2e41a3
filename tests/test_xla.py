"""JAX's adapters compile without a step of XLA's that computes wrong numbers on the CPU."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")

import jax

import impls
from impls import xla
from impls.arrays import to_numpy
from reference import Case, Expected, Layered, Request, compare, float64_expected, random_case
from reference.layers import Activate, Attention, Dense, LayerNorm, Positions, Residual

WIDTH, LENGTH = 128, 64
BLOCK = (Residual((LayerNorm("norm1"), Attention("attention", 4))),
         Residual((LayerNorm("norm2"), Dense("up", 4 * WIDTH), Activate("gelu"), Dense("down", WIDTH))))


@cache
def transformer() -> tuple[Case, Expected]:
    """One layer, one output at each position: small enough for a test, and large enough for XLA's mistake."""
    layers = (Dense("embed", WIDTH), Positions("positions"), *BLOCK, LayerNorm("norm"), Dense("head", 1))
    case = random_case("one layer of a transformer", Layered((LENGTH, 16), layers), 1, None)
    return case, float64_expected(case, (0,), (0,))


@pytest.mark.parametrize("method", ["structured_jax", "equinox.exact"])
def test_a_transformer_of_some_size_is_right(method: str) -> None:
    case, expected = transformer()
    kernel = to_numpy(impls.load(method).prepare(case, Request())())
    result = compare(kernel, expected, outputs="full", dtype="float32", symmetric=True)
    assert result.ok, result.reason


def test_options_are_those_that_xla_knows() -> None:
    assert jax.jit(lambda x: x + 1, compiler_options=xla.options())(np.float32(1)) == 2


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla, "_WITHOUT_LIBRARY", {"xla_no_such_option": ""})
    xla.options.cache_clear()
    try:
        assert xla.options() == {}
    finally:
        xla.options.cache_clear()


def test_settings_reach_jit() -> None:
    double = xla.compiled(lambda x, *, times: x * times, static_argnames="times")
    assert double(np.float32(3), times=2) == 6
