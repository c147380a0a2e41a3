"""``method="auto"`` goes on to the next method after any exception of one, and tells all reasons where none is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")

import torch

from impls import ntk, registry
from reference import InputError, tolerance

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")


class Broken:
    """Takes a method's place and raises what it is given."""

    def __init__(self, method: Any, error: BaseException) -> None:
        self.method, self.error = method, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    def kernel(self, *_: Any) -> Any:
        raise self.error

    def engine(self, *_: Any, **__: Any) -> Any:
        raise self.error


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2), torch.randn(4, 3)


def broken(monkeypatch: pytest.MonkeyPatch, errors: dict[str, BaseException]) -> None:
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: Broken(load(name), errors[name]) if name in errors
                        else load(name))


TORCH = ("structured_torch", "torch_func.jacobian_contraction", "torch_func.ntk_vector_products",
         "torch_autograd.per_example")


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("two\nlines"), AssertionError(), ZeroDivisionError("0")],
                         ids=lambda error: type(error).__name__)
def test_any_exception_of_a_method_is_one_way_less(network: Any, error: Exception, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    module, x = network
    right = ntk(module, x, method="torch_autograd.per_example")
    broken(monkeypatch, dict.fromkeys(TORCH[:3], error))
    np.testing.assert_array_equal(ntk(module, x, expect_calls=100, verbose=True), right)
    assert f"{type(error).__name__}: " in capsys.readouterr().out


def test_all_reasons_are_told_where_none_is_left(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = network
    broken(monkeypatch, {name: KeyError(f"the fault of {name}") for name in TORCH})
    with pytest.raises(InputError) as raised:
        ntk(module, x, expect_calls=100)
    assert all(f"KeyError: 'the fault of {name}'" in str(raised.value) for name in TORCH)
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2), InputError("of the user's")],
                         ids=lambda error: type(error).__name__)
def test_what_no_other_method_mends_is_raised_at_once(network: Any, error: BaseException,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = network
    broken(monkeypatch, dict.fromkeys(TORCH, error))
    with pytest.raises(type(error)) as raised:
        ntk(module, x, expect_calls=100)
    assert raised.value is error


def test_a_while_loop_of_jax_has_a_kernel_by_default() -> None:
    """Its length depends on numbers, so that only methods that push forward, or trace it themselves, have it."""
    jax = pytest.importorskip("jax", reason="the JAX half is not installed")
    pytest.importorskip("equinox", reason="the JAX half is not installed")
    import jax.numpy as jnp

    def f(params: Any, x: Any) -> Any:
        def step(carry: Any) -> Any:
            return carry[0] + 1, jnp.sin(carry[1] @ params["w"])

        return jax.lax.while_loop(lambda carry: carry[0] < 2, step, (0, x))[1]

    w, x = np.random.default_rng(0).standard_normal((2, 3, 3))
    params = {"w": jnp.asarray(w, jnp.float32)}
    jacobian = jax.jacfwd(lambda w: f({"w": w}, jnp.asarray(x, jnp.float32)))(params["w"]).reshape(3, 3, -1)
    right = jnp.einsum("nap,mbp->nmab", jacobian, jacobian)
    np.testing.assert_allclose(ntk(f, jnp.asarray(x, jnp.float32), params=params), right, rtol=tolerance("float32"),
                               atol=tolerance("float32"))
