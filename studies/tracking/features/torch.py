"""Of PyTorch's modules: by forward hooks for one pass, on values that take the parameters' places."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from impls.frameworks.torch.module import ModuleFunction, unwrapped
from reference import InputError
from studies.tracking.features.observation import Observation, Recording, as_features, known_activation, missing_layer
from studies.tracking.units import Activation


def observe(model: nn.Module, x: Any, layers: tuple[str, ...]) -> Observation:
    module = unwrapped(model)
    parts = dict(nn.Module.named_modules(module))
    recording = Recording(layers)
    for path in recording.paths:
        if path not in parts:
            raise missing_layer(path, list(parts))
    function = ModuleFunction(module)
    x = _like_parameters(x, function)
    function.find_written(lambda: function(function.params, x))
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(x.device.type, enabled=False))  # as for the kernel
        for path in recording.paths:
            handle = parts[path].register_forward_hook(
                lambda _, given, got, path=path: recording.used(path, given[0] if given else None, got))
            stack.callback(handle.remove)
        outputs = function(function.params, x)
    if not isinstance(outputs, Tensor):
        raise InputError(f"the model must return one tensor to be tracked, got {type(outputs).__name__}")
    activations: dict[str, Activation | None] = {path: known_activation(parts[path])
                                                 for path in recording.paths}
    return Observation(_as_array(outputs), as_features(
        {name: _as_array(value) for name, value in recording.found.items()}, activations))


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: _as_array(value).copy() for name, value in ModuleFunction(unwrapped(model)).params.items()}


def _like_parameters(x: Any, function: ModuleFunction) -> Tensor:
    """On the device of the parameters and in their dtype, but for integers, which are tokens."""
    like = next(iter(function.params.values()), torch.zeros(()))
    tensor = torch.as_tensor(x, device=like.device)
    return tensor.to(like.dtype) if tensor.is_floating_point() else tensor


def _as_array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
