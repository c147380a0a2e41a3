"""A small network of each framework, its inputs, and its kernel in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from impls import ntk
from reference.case import Outputs
from reference.tolerances import tolerance

DRAWN = np.random.default_rng(0)
X = DRAWN.standard_normal((47, 8)).astype(np.float32)
Z = DRAWN.standard_normal((33, 8)).astype(np.float32)
TILE = 10


def torch_network(activation: str = "ReLU") -> Any:
    """The same at each call."""
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 12), getattr(nn, activation)(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 3))


def jax_network() -> Any:
    import equinox
    import jax

    return equinox.nn.MLP(8, 3, 12, 2, key=jax.random.key(0))


def network(framework: str) -> Any:
    return torch_network() if framework == "torch" else jax_network()


def in_memory(model: Any, x1: np.ndarray, x2: np.ndarray | None, outputs: Outputs) -> np.ndarray:
    """By the engine."""
    import torch

    framework = "torch" if isinstance(model, torch.nn.Module) else "jax"
    kernel = ntk(model, x1, x2, outputs=outputs, method=f"structured_{framework}")
    return np.asarray(kernel.numpy() if framework == "torch" else kernel)


def assert_same(found: Any, due: np.ndarray) -> None:
    """To the tolerance of float32, of the kernel's largest entry: the examples are alike in size."""
    found = np.asarray(found)
    assert found.shape == due.shape
    np.testing.assert_allclose(found, due, rtol=0, atol=tolerance("float32") * np.abs(due).max())
