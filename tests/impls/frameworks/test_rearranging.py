"""Examples that change their order where they lie: whoever holds the array, in any framework, sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from impls.frameworks.arrays import to_numpy
from impls.frameworks.rearranging import address, is_array, rearrange

ORDER = np.array([2, 0, 1])
VALUES = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def fixed(values: np.ndarray) -> np.ndarray:
    copy = values.copy()
    copy.flags.writeable = False
    return copy


def of_jax(values: np.ndarray) -> Any:
    """The one place that writes to JAX's arrays relies on this: their buffer is what NumPy sees of them."""
    return pytest.importorskip("jax", reason="the JAX half is not installed").numpy.array(values)


def of_torch(values: np.ndarray) -> Any:
    return pytest.importorskip("torch", reason="the PyTorch half is not installed").tensor(values).requires_grad_()


@pytest.mark.parametrize("make", [np.array, fixed, of_jax, of_torch])
def test_the_array_itself_is_rearranged(make: Callable[[np.ndarray], Any]) -> None:
    array = make(VALUES)
    held = {"somewhere": [array]}
    assert is_array(array)
    assert address(array)
    assert rearrange(array, ORDER)
    np.testing.assert_array_equal(to_numpy(held["somewhere"][0] + 0), VALUES[ORDER])
    assert rearrange(array, np.argsort(ORDER))
    np.testing.assert_array_equal(to_numpy(array), VALUES)


def test_a_compiled_program_sees_it() -> None:
    jax = pytest.importorskip("jax", reason="the JAX half is not installed")
    array, program = of_jax(VALUES), jax.jit(lambda x: 2 * x)
    program(array)
    rearrange(array, ORDER)
    np.testing.assert_array_equal(np.asarray(program(array)), 2 * VALUES[ORDER])


def test_two_arrays_of_the_same_numbers_have_one_address() -> None:
    torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
    values = VALUES.copy()
    assert address(torch.from_numpy(values)) == address(values) == address(values.reshape(3, 4)) != address(VALUES)
