"""The gate sees what a method changes in a model that is being trained, and in the process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
import torch

from tests.gate import models


def leaves_evaluation_mode(model: Any, x: np.ndarray) -> None:
    model.eval()


def leaves_training_mode(model: Any, x: np.ndarray) -> None:
    model.train()


def thaws(model: Any, x: np.ndarray) -> None:
    model.requires_grad_(True)


def runs_in_training_mode(model: Any, x: np.ndarray) -> None:
    model(torch.tensor(x, dtype=torch.float32))


def leaves_gradients(model: Any, x: np.ndarray) -> None:
    with torch.random.fork_rng():
        model[0](torch.tensor(x, dtype=torch.float32)).sum().backward()


def changes_a_value(model: Any, x: np.ndarray) -> None:
    with torch.no_grad():
        model[6].bias[0] += 1e-7


def converts(model: Any, x: np.ndarray) -> None:
    model.double().float()


def draws_a_number(model: Any, x: np.ndarray) -> None:
    torch.rand(1)


def enables_x64(model: Any, x: np.ndarray) -> None:
    jax.config.update("jax_enable_x64", not jax.config.values["jax_enable_x64"])


def deletes_nothing(model: Any, x: np.ndarray) -> None:
    """Right."""


@pytest.fixture(autouse=True)
def settings_put_back() -> Iterator[None]:
    x64, rng = jax.config.values["jax_enable_x64"], torch.random.get_rng_state()
    yield
    jax.config.update("jax_enable_x64", x64)
    torch.random.set_rng_state(rng)


@pytest.mark.parametrize(("mistake", "changed"), [
    (leaves_evaluation_mode, "training of the model, training of 0"),
    (leaves_training_mode, "training of 5"),
    (thaws, "requires_grad of 4.weight"),
    (runs_in_training_mode, "values of 1.running_mean"),
    (leaves_gradients, "gradient of 0.weight"),
    (changes_a_value, "values of 6.bias"),
    (converts, "memory, dtype and requires_grad of 0.weight"),
    (draws_a_number, "torch.random.get_rng_state()"),
    (enables_x64, "jax.config.jax_enable_x64"),
])
def test_what_is_changed_is_named(mistake: models.Compute, changed: str) -> None:
    assert changed in models.torch_fault(mistake, models.torch_model())


def test_nothing_changed() -> None:
    assert models.torch_fault(deletes_nothing, models.torch_model()) == ""
    assert models.equinox_fault(deletes_nothing, models.equinox_model()) == ""
    assert models.equinox_fault(enables_x64, models.equinox_model()) == "jax.config.jax_enable_x64"
