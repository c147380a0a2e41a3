"""What a method must leave as it was: the settings and random generators that every user of the process shares."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np


def global_state() -> dict[str, Any]:
    """Name to value, comparable with ==, of the frameworks that are imported.

    Python's own `random` is not among them: the runtime check of types draws from it.
    """
    state: dict[str, Any] = {
        "os.environ": dict(os.environ),
        "numpy.random.get_state()": [str(part) for part in np.random.get_state()],  # noqa: NPY002
        "numpy.geterr()": np.geterr(),
    }
    if (jax := sys.modules.get("jax")) is not None:
        state |= {f"jax.config.{name}": getattr(jax.config, name, value) for name, value in jax.config.values.items()}
    if (torch := sys.modules.get("torch")) is not None:
        state |= _torch_state(torch)
    return state


def _torch_state(torch: Any) -> dict[str, Any]:
    return {
        "torch.get_default_dtype()": torch.get_default_dtype(),
        "torch.get_default_device()": torch.get_default_device(),
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
        "torch.is_inference_mode_enabled()": torch.is_inference_mode_enabled(),
        "torch.get_num_threads()": torch.get_num_threads(),
        "torch.random.get_rng_state()": torch.random.get_rng_state().tolist(),
        "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled(),
        "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision(),
        "torch.backends.cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "torch.backends.cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "torch.backends.cudnn.benchmark": torch.backends.cudnn.benchmark,
    }
