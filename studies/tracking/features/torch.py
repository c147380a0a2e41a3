"""Of PyTorch's modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from impls.frameworks.torch import features
from impls.frameworks.torch.module import ModuleFunction, unwrapped
from reference import InputError
from studies.tracking.features.observation import Observation, as_observation


def observe(model: nn.Module, x: Any, layers: tuple[str, ...]) -> Observation:
    observed = features.observe(model, x, layers)
    if not isinstance(observed.outputs, Tensor):
        raise InputError(f"the model must return one tensor to be tracked, got {type(observed.outputs).__name__}")
    return as_observation(observed, _as_array)


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: _as_array(value).copy() for name, value in ModuleFunction(unwrapped(model)).params.items()}


def _as_array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
