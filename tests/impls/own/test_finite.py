"""What counts as a kernel of finite numbers, in either framework's own arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from impls.own import finite

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
jnp = pytest.importorskip("jax.numpy", reason="the JAX half is not installed")

LARGE = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("array", [torch.tensor, jnp.asarray], ids=["torch", "jax"])
@pytest.mark.parametrize(("numbers", "are"), [
    ([1.0, -2.0], True), ([LARGE, LARGE], True), ([LARGE, LARGE, -LARGE, -LARGE], True), ([np.nan, 1.0], False),
    ([np.inf, 1.0], False), ([np.inf, -np.inf], False), ([LARGE, LARGE, -np.inf], False)], ids=str)
def test_finite_numbers_whose_sum_is_not_are_finite(array: Any, numbers: list[float], are: bool) -> None:
    kernel = array(np.array(numbers * 40, np.float32))
    assert finite.is_finite(kernel) is are
