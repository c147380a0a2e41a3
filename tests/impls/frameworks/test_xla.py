"""JAX's adapters compile without a step of XLA's that computes wrong numbers on the CPU."""

from __future__ import annotations

import platform
from contextlib import nullcontext
from importlib.metadata import version

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")

import jax

import impls
from impls.frameworks.jax import xla
from reference import InputError
from tests.gate.compilation import few_optimizations
from tests.gate.selection import Selection
from tests.gate.test_larger_network import test_larger_network as larger_network
from tests.planted.plain_jax import PLAIN_JAX

SELECTION = Selection(("jax",), "cpu")

FIRST = {"xla_cpu_enable_fast_math": "False"}
SECOND = {"xla_cpu_enable_fast_min_max": "False"}

Options = tuple[dict[str, str], ...]


@pytest.mark.parametrize("method", ["structured_jax", "equinox.exact"])
def test_a_transformer_of_some_size_is_right(method: str) -> None:
    """As users have it: the gate compiles with few optimizations."""
    larger_network(impls.load(method), SELECTION)


@pytest.mark.skipif(version("jaxlib") != "0.10.2" or platform.machine() != "x86_64",
                    reason="the mistake is known of jaxlib 0.10.2 on x86-64")
def test_the_gate_finds_xlas_mistake() -> None:
    """As users compile, and with the gate's quick compilation."""
    for compiling in (nullcontext(), few_optimizations()):
        with compiling, pytest.raises(AssertionError, match=r"^width 128, 64 positions: error 0\.00"):
            larger_network(PLAIN_JAX, SELECTION)


@pytest.mark.parametrize("every", [False, True])
def test_options_are_those_that_xla_knows(every: bool) -> None:
    options = xla.options(in_turn=every, older_loops=every)
    assert jax.jit(lambda x: x + 1, compiler_options=options)(np.float32(1)) == 2


@pytest.mark.parametrize(("products", "order", "taken"), [
    ((FIRST, {}), (SECOND, {}), FIRST | SECOND),
    (({**FIRST, "xla_no_such_option": ""}, FIRST, {}), (SECOND, {}), FIRST | SECOND),
    ((FIRST, {}), ({"xla_cpu_scheduler_type": "NO_SUCH_TYPE"}, {}), FIRST),
    (({"xla_no_such_option": ""}, {}), ({"xla_no_such_option": ""}, {}), {}),
])
def test_the_first_options_that_xla_knows_are_taken(products: Options, order: Options, taken: dict[str, str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla, "_PRODUCTS", products)
    monkeypatch.setattr(xla, "_IN_TURN", order)
    monkeypatch.setattr(xla, "_OLDER_LOOPS", ({"xla_no_such_option": ""}, {}))
    xla._first_known.cache_clear()
    try:
        assert xla.options(in_turn=True, older_loops=True) == taken
    finally:
        xla._first_known.cache_clear()


def test_settings_reach_jit() -> None:
    double = xla.compiled(lambda x, *, times: x * times, static_argnames="times")
    assert double(np.float32(3), times=2) == 6


def test_a_kernel_inside_another_program() -> None:
    if not xla.options():
        pytest.skip("this XLA is given no options, and JAX nests its programs")
    with pytest.raises(InputError, match=r"inside jax\.jit or jax\.grad.*Call it outside"):
        jax.jit(lambda x: xla.compiled(lambda x: x + 1)(x))(np.ones(3))


def test_other_mistakes_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="another"):
        xla.compiled(_raise)(1.0)


def _raise(x: float) -> float:
    raise ValueError("another")
