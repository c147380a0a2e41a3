"""Examples that change their order where they lie: whoever holds the array, in any framework, sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from impls.frameworks.arrays import to_numpy
from impls.frameworks.rearranging import address, is_array, nudge, rearrange

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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [np.array, of_jax, of_torch])
def test_numbers_are_moved_by_steps_and_back(make: Callable[[np.ndarray], Any], dtype: type) -> None:
    values = np.array([[1.0, -3.5, 0.0], [-np.inf, 1e-30, 1.0]], dtype)
    array = make(values)
    given = to_numpy(array)  # JAX has float64 where that is switched on
    assert nudge(array, 3)
    moved = to_numpy(array)
    steps = np.zeros_like(given)
    np.copyto(steps, 3 * np.spacing(given), where=(given != 0) & np.isfinite(given))
    np.testing.assert_array_equal(moved, given + steps)
    assert nudge(array, -3)
    np.testing.assert_array_equal(to_numpy(array), given)


@pytest.mark.parametrize("make", [np.array, of_jax])
def test_integers_are_not_moved(make: Callable[[np.ndarray], Any]) -> None:
    array = make(np.arange(3))
    assert not nudge(array, 1)
    np.testing.assert_array_equal(to_numpy(array), np.arange(3))
