"""What a user has switched on around a method: in PyTorch, in JAX, in the process."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

Around = Callable[[], AbstractContextManager[Any]]

CHANGED = {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "", "HOME": "/", "LANG": "C", "TZ": "Pacific/Auckland",
           "JAX_ENABLE_X64": "1", "PYTHONHASHSEED": "7", "USER": "somebody", "DEBUG": "1", "NO_COLOR": "1"}
TAKEN_AWAY = ("CI", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS")

MAY_REFUSE = ("torch.inference_mode",)
"""Where PyTorch differentiates nothing: a method may raise there, and not give another kernel."""


def surroundings(framework: str) -> dict[str, Around]:
    """By name, those that a method of this framework may find itself in."""
    return {**(_torch() if framework == "torch" else _jax() if framework == "jax" else {}),
            "another environment": another_environment, "other random numbers": _other_random_numbers}


def _torch() -> dict[str, Around]:
    import torch

    return {
        "torch.no_grad": torch.no_grad,
        "torch.inference_mode": torch.inference_mode,
        "torch.autocast": lambda: torch.autocast("cpu", torch.bfloat16),
        "a default dtype of float64": _default_float64,
    }


def _jax() -> dict[str, Around]:
    import jax

    return {
        "jax.enable_x64": lambda: jax.enable_x64(True),
        "products in bfloat16": lambda: jax.default_matmul_precision("bfloat16"),
    }


@contextmanager
def _default_float64() -> Iterator[None]:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def another_environment() -> Iterator[None]:
    """Other variables, none that tells of a test, another directory and another command line."""
    variables, directory, command = dict(os.environ), os.getcwd(), list(sys.argv)
    with tempfile.TemporaryDirectory() as elsewhere:
        os.chdir(elsewhere)
        os.environ.update(CHANGED)
        for name in TAKEN_AWAY:
            os.environ.pop(name, None)
        sys.argv[:] = ["train.py"]
        try:
            yield
        finally:
            sys.argv[:] = command
            os.environ.clear()
            os.environ.update(variables)
            os.chdir(directory)


@contextmanager
def _other_random_numbers() -> Iterator[None]:
    """The generators of the process stand elsewhere."""
    torch = sys.modules.get("torch")
    own, numpy_own = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_own = None if torch is None else torch.random.get_rng_state()
    random.seed(17)
    np.random.seed(17)  # noqa: NPY002
    if torch is not None:
        torch.manual_seed(17)
    try:
        yield
    finally:
        random.setstate(own)
        np.random.set_state(numpy_own)  # noqa: NPY002
        if torch is not None:
            torch.random.set_rng_state(torch_own)
