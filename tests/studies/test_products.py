"""Products in place of a kernel: what Lanczos finds by them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra studies is not installed")

from impls import ntk, ntk_operator
from studies.parts import by_parameter, trace_shares
from studies.products import square
from studies.spectrum import spectrum, top
from tests.studies.agreement import agree

X = np.random.default_rng(0).standard_normal((5, 4))


def test_products_of_a_network_give_its_spectrum_by_lanczos() -> None:
    torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
    torch.manual_seed(0)
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(), nn.Linear(6, 2)).double()
    module.register_parameter("unused", torch.nn.Parameter(torch.ones(2).double()))
    kernel = ntk(module, torch.tensor(X))
    agree(top(ntk_operator(module, X), 3, examples=5).values, spectrum(kernel).values[:3])
    components = ntk(module, torch.tensor(X), components=True)
    agree(sum(found.values.sum() for found in by_parameter(components).values()), spectrum(kernel).values.sum())
    assert trace_shares(components)["unused"] == 0


def test_a_function_of_vectors_multiplies_several_as_well() -> None:
    matrix = X.T @ X
    agree(square(matrix.__matmul__, 4) @ X.T, matrix @ X.T)
