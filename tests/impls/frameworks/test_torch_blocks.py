"""The contractions that the PyTorch methods share, where rounding errors are largest: few rows, many parameters."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from reference import Expected, compare
from reference.case import Outputs

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

N_EXAMPLES, N_OUTPUTS, N_PARAMS = 2, 2, 2**20


@pytest.mark.parametrize("outputs", get_args(Outputs))
def test_a_million_terms_of_float32_stay_within_the_tolerance(outputs: Outputs) -> None:
    from impls.frameworks.torch.blocks import contract

    jacobian = torch.randn(N_EXAMPLES, N_OUTPUTS, N_PARAMS, generator=torch.Generator().manual_seed(0))
    exact = np.einsum("nap,mbp->nmab", *2 * [jacobian.numpy().astype(np.float64)])
    blocks = np.einsum("nnab->nab", exact)
    kernel = contract(jacobian, jacobian, outputs).numpy()
    comparison = compare(kernel, Expected(exact, blocks, blocks, "float64"), outputs=outputs, dtype="float32",
                         symmetric=True)
    assert comparison.ok, comparison.reason
