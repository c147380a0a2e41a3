"""The kernel of each parameter, by each method that gives it, against the float64 tape; their sum is the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")
pytest.importorskip("torch", reason="the PyTorch half is not installed")

import impls
from impls import MethodNotInstalled
from impls.frameworks.arrays import to_numpy
from impls.networks import jax_case, torch_case
from reference import Case, InputError, Request, case, normalised
from reference.arithmetic import FLOAT64
from reference.case import Outputs
from reference.expected import Expected
from reference.jacobian import linearise
from reference.tolerances import tolerance
from tests.planted import components as planted

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

# Tied uses, frozen and unused parameters, positions, and a tied embedding with attention.
CASES = ("tied_dense", "frozen", "unused_parameter", "conv_explicit_padding", "transformer")
METHODS = ("structured_torch", "torch_func.jacobian_contraction", "torch_func.ntk_vector_products",
           "torch_autograd.per_example", "structured_jax", "equinox.exact")
# These compile a kernel anew for each parameter: one case stands for all.
COMPILE_EACH = ("neural_tangents.jacobian_contraction", "neural_tangents.ntk_vector_products",
                "neural_tangents.structured_derivatives", "neural_tangents.auto")


@cache
def truth(name: str, symmetric: bool) -> dict[str, np.ndarray]:
    """(N1, N2, O, O) for each parameter, by the tape in float64."""
    problem = case(name)
    arrays = {**problem.params, **problem.constants}
    x2 = problem.x1 if symmetric or problem.x2 is None else problem.x2
    first, second = ([linearise(problem.network, FLOAT64, arrays, x) for x in xs]  # pyright: ignore[reportArgumentType]
                     for xs in (problem.x1, x2))
    rows, columns = ({p: np.array([each.jacobian([p]) for each in some], np.float64) for p in problem.params}
                     for some in (first, second))
    return {p: np.einsum("nap,mbp->nmab", rows[p], columns[p]) for p in problem.params}


def expected(name: str, symmetric: bool) -> Expected:
    """The whole kernel's, whose scale an error is relative to: a parameter's own share may be 0."""
    full = sum(truth(name, symmetric).values())
    same1 = sum(truth(name, True).values())
    problem = case(name)
    mirrored = Case(problem.name, problem.network, problem.params, problem.x2, None, problem.constants)  # pyright: ignore[reportArgumentType]
    arrays = {**problem.params, **problem.constants}
    blocks = [linearise(problem.network, FLOAT64, arrays, x).jacobian(list(problem.params))  # pyright: ignore[reportArgumentType]
              for x in mirrored.x1]
    block1 = np.array([same1[n, n] for n in range(len(problem.x1))])  # pyright: ignore[reportIndexIssue]
    block2 = block1 if symmetric else np.array([j @ j.T for j in blocks], np.float64)
    return Expected(full, block1, block2, "float64 tape")  # pyright: ignore[reportArgumentType]


def of_method(name: str, problem: Case, request: Request) -> dict[str, np.ndarray]:
    """By the case's own names. PyTorch's modules have others, in the same order."""
    method: Any = planted.METHODS[name] if name in planted.METHODS else impls.load(name)
    if method.framework == "torch":
        f, params, x1, x2 = torch_case.functional(problem, request)
        own = dict(zip(params, problem.params, strict=True))
    else:
        f, params, x1, x2 = jax_case.functional(problem, request)
        own = {p: p for p in problem.params}
    found = method.components(f, params, x1, x2, request)
    assert set(found) == set(own)
    return {own[p]: to_numpy(kernel) for p, kernel in found.items()}


def contracted(full: np.ndarray, outputs: Outputs) -> np.ndarray:
    diagonal = np.einsum("nmaa->nma", full)
    return {"full": full, "diagonal": diagonal, "trace": diagonal.sum(-1)}[outputs]


def errors(found: Mapping[str, np.ndarray], name: str, symmetric: bool, outputs: Outputs) -> dict[str, float]:
    """The largest of each parameter, relative to the scale of the whole kernel."""
    scale = expected(name, symmetric).scale(outputs)
    return {p: float(normalised(found[p] - contracted(full, outputs), scale).max())
            for p, full in truth(name, symmetric).items()}


def assert_components(method: str, name: str, *, symmetric: bool = False, outputs: Outputs = "full",
                      batch_size: int | None = None) -> None:
    request = Request(outputs, "float64", batch_size=batch_size)
    problem = case(name).with_symmetry() if symmetric else case(name)
    found = of_method(method, problem, request)
    wrong = {p: error for p, error in errors(found, name, symmetric, outputs).items()
             if not error <= tolerance("float64")}
    assert not wrong, f"{method} on {name}: {wrong}"
    due = expected(name, symmetric)
    off = float(normalised(sum(found.values()) - due.outputs(outputs), due.scale(outputs)).max())
    assert off <= tolerance("float64"), f"{method} on {name}: the sum is off by {off}"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", METHODS)
def test_components(method: str, name: str) -> None:
    assert_components(method, name)


@pytest.mark.parametrize("method", METHODS)
def test_components_in_blocks(method: str) -> None:
    assert_components(method, "tied_dense", symmetric=True, outputs="diagonal", batch_size=3)


@pytest.mark.parametrize("method", COMPILE_EACH)
def test_components_one_after_the_other(method: str) -> None:
    assert_components(method, "frozen", outputs="trace")


@pytest.mark.parametrize("method", planted.METHODS)
def test_planted_errors_fail(method: str) -> None:
    with pytest.raises(AssertionError, match="planted"):
        assert_components(method, "tied_dense")


def test_every_method_with_components_is_tested() -> None:
    offered = {name for name in impls.names() if hasattr(load(name), "components") and hasattr(load(name), "kernel")}
    assert offered == {*METHODS, *COMPILE_EACH}


def load(name: str) -> Any:
    """None for a method whose package is not installed."""
    try:
        return impls.load(name)
    except MethodNotInstalled:
        return None


def test_methods_without_components_name_those_that_have_them() -> None:
    import jax.numpy as jnp

    with pytest.raises(InputError, match=r"equinox\.monte_carlo does not give .*; choose one of .*equinox\.exact"):
        impls.ntk(lambda p, x: x @ p, np.ones((2, 3)), params=jnp.ones((3, 2)), method="equinox.monte_carlo",
                  components=True)
