"""neural-tangents' finite-width kernels: the harness's convention, every form, and against Jacobians of plain JAX."""

from __future__ import annotations

import importlib.util
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the JAX half is not installed")
if importlib.util.find_spec("neural_tangents") is None:
    pytest.skip("neural-tangents is not installed", allow_module_level=True)

import jax.numpy as jnp  # noqa: E402

from impls import load, unsupported  # noqa: E402
from impls.frameworks.jax.support import precision  # noqa: E402
from impls.given.user_network import UserNetwork  # noqa: E402
from impls.networks import jax_case  # noqa: E402
from impls.networks import stax as stax_networks  # noqa: E402
from reference import Case, Conv, Expected, InputError, Request, case, compare, round_to_float32  # noqa: E402
from reference.case import Outputs  # noqa: E402
from tests.naive_kernels import from_jacobians  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

METHODS = tuple(f"neural_tangents.{name}" for name in (
    "auto", "jacobian_contraction", "ntk_vector_products", "structured_derivatives"))
FORMS = [(outputs, dtype, batch_size) for (outputs, dtype), batch_size in zip(
    product(("full", "diagonal", "trace"), ("float32", "float64")), (None, 3, 1, None, 3, 100), strict=True)]


@pytest.mark.parametrize(("method", "name", "form"), [(*pair, form) for pair, form in zip(
    product(METHODS[1:], ("mlp_gelu", "conv_pool_dense")), FORMS, strict=True)])
def test_against_plain_jacobian(method: str, name: str, form: tuple[Outputs, Any, int | None]) -> None:
    """The other definition of the network, differentiated by `jax.jacobian`; in turn symmetric or not.

    Each method on each network in a form of its own: all forms of each are held to the proved kernels by the gate.
    """
    outputs, dtype, batch_size = form
    shared = case(name) if batch_size is None or batch_size == 1 else case(name).with_symmetry()
    check(method, shared, _own_truth(shared), Request(outputs, dtype, batch_size=batch_size))


def check(method: str, of: Case, truth: Expected, request: Request) -> None:
    kernel = np.asarray(load(method).prepare(of, request)())
    comparison = compare(kernel, truth, outputs=request.outputs, dtype=request.dtype, symmetric=of.symmetric)
    assert comparison.ok, comparison.reason


def _own_truth(shared: Case) -> Expected:
    with precision("float64"):
        f, params, x1, x2 = jax_case.functional(shared, Request(dtype="float64"))
        x2 = x1 if x2 is None else x2
        return from_jacobians(*(_jacobian(f, params, x) for x in (x1, x2)))


def _jacobian(f: Any, params: Any, x: Any) -> np.ndarray:
    """(N, O, P)"""
    leaves = jax.tree.leaves(jax.jacobian(f)(params, x))
    return np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=-1)


@pytest.mark.parametrize(("conv", "size", "name"), [
    (Conv(1, (3, 3)), (5, 5), "VALID"),
    (Conv(1, (3, 3), padding=(1, 1)), (5, 4), "SAME"),
    (Conv(1, (3, 1), padding=(1, 0)), (5, 4), "SAME"),
    (Conv(1, (3, 3), (2, 2), (1, 1)), (5, 7), "SAME"),
    (Conv(1, (3, 3), (2, 2), (1, 1)), (5, 6), None),  # "SAME" pads one end only of an even side
    (Conv(1, (3, 3), padding=(1, 0)), (5, 5), None),
    (Conv(1, (3, 3), padding=(2, 2)), (5, 5), None),
])
def test_padding_name(conv: Conv, size: tuple[int, int], name: str | None) -> None:
    assert stax_networks.padding_name(conv, *size) == name


@pytest.mark.parametrize("method", METHODS)
def test_outputs_of_two_axes(method: str) -> None:
    """A user's function; its (2, 2) outputs are flattened in C order, and an unused parameter adds nothing."""
    def f(params: Any, x: Any) -> Any:
        return jnp.sin(x @ params["w"]).reshape(-1, 2, 2)

    params = {"w": np.arange(12, dtype=np.float32).reshape(3, 4) / 8, "unused": np.ones(5, np.float32)}
    x1, x2 = np.linspace(-1, 1, 9).reshape(3, 3), np.linspace(0, 2, 6).reshape(2, 3)
    own = Case("own", UserNetwork("jax", f, params), {}, round_to_float32(x1),
               round_to_float32(x2))
    flat = Case("flat", UserNetwork("jax", lambda p, x: f(p, x).reshape(-1, 4), params), {}, own.x1, own.x2)
    check(method, own, _own_truth(flat), Request(dtype="float64", batch_size=2))


@pytest.mark.parametrize("method", METHODS)
def test_parameters_are_not_baked_in(method: str) -> None:
    """The same function and shapes with other parameters: other values, though nothing is compiled anew."""
    def f(params: Any, x: Any) -> Any:
        n_traces.append(1)
        return (x @ params) ** 2

    n_traces: list[int] = []
    any_method: Any = load(method)
    first = any_method.kernel(f, jnp.full((3, 1), 1.0), jnp.ones((2, 3)), None, Request())
    n_first = len(n_traces)
    second = any_method.kernel(f, jnp.full((3, 1), 2.0), jnp.ones((2, 3)), None, Request())
    assert len(n_traces) == n_first
    np.testing.assert_array_equal(np.asarray(second), 4 * np.asarray(first))


def test_unknown_option() -> None:
    with pytest.raises(InputError, match="has no option 'proj_dim'"):
        load(METHODS[0]).prepare(case("linear"), Request(options={"proj_dim": 3}))


def test_torch_module_needs_what_crosses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Case("own", UserNetwork("torch", None), {}, np.ones((2, 3)))
    monkeypatch.setitem(sys.modules, "torchax", None)  # as if it were not installed
    assert "torchax is not installed" in str(unsupported(load(METHODS[0]), own, Request()))
