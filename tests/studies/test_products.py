"""Products with the kernel against the kernel, in both frameworks, and the largest eigenvalues by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra studies is not installed")

from impls import ntk
from reference import InputError
from studies.matrix import as_matrix
from studies.parts import by_parameter, trace_shares
from studies.products import kernel_operator
from studies.spectrum import spectrum, top
from tests.studies.agreement import agree

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

X = np.random.default_rng(0).standard_normal((5, 4))
V = np.random.default_rng(1).standard_normal((10, 3))


OTHER = np.random.default_rng(3).standard_normal((3, 4))


def holds_between(operator: Any, kernel: Any) -> None:
    """K(other, x) in the same order of rows and columns."""
    agree(operator @ V, np.asarray(kernel).transpose(0, 2, 1, 3).reshape(operator.shape) @ V)


def holds(operator: Any, kernel: Any) -> None:
    """For vectors and for several at once; and Lanczos on it gives the spectrum."""
    matrix = as_matrix(kernel)
    agree(operator @ V, matrix @ V)
    agree(operator @ V[:, 0], matrix @ V[:, 0])
    agree(top(operator, 3, examples=5).values, spectrum(kernel).values[:3])


def test_jax_with_real_and_complex_parameters() -> None:
    jax = pytest.importorskip("jax", reason="the JAX half is not installed")
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        params = {name: jax.numpy.asarray(rng.standard_normal(shape))
                  for name, shape in {"w": (4, 6), "v": (6, 2)}.items()}
        params["v"] = params["v"] + 0.5j

        def f(p: Any, x: Any) -> Any:
            return (jax.numpy.tanh(x @ p["w"]) @ p["v"]).real ** 2

        holds(kernel_operator(f, X, params=params), ntk(f, X, params=params))
        holds_between(kernel_operator(f, OTHER, X, params=params), ntk(f, OTHER, X, params=params))


def test_equinox() -> None:
    eqx = pytest.importorskip("equinox", reason="the JAX half is not installed")
    import jax

    with jax.enable_x64(True):
        module = eqx.nn.MLP(4, 2, width_size=6, depth=2, key=jax.random.key(0), dtype="float64")
        holds(kernel_operator(module, X), ntk(module, X))


def test_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
    torch.manual_seed(0)
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(), nn.Linear(6, 2)).double()
    module.register_parameter("unused", torch.nn.Parameter(torch.ones(2).double()))
    kernel = ntk(module, torch.tensor(X))
    holds(kernel_operator(module, X), kernel)
    components = ntk(module, torch.tensor(X), components=True)
    agree(sum(found.values.sum() for found in by_parameter(components).values()), spectrum(kernel).values.sum())
    assert trace_shares(components)["unused"] == 0
    holds_between(kernel_operator(module, OTHER, X), ntk(module, torch.tensor(OTHER), torch.tensor(X)))
    assert module.training
    assert all(p.grad is None for p in module.parameters())


def test_bad_input_names_the_value_and_the_remedy() -> None:
    with pytest.raises(InputError, match="params=; got function"):
        kernel_operator(lambda p, x: x, X)
    with pytest.raises(InputError, match="got str"):
        kernel_operator("model", X)
