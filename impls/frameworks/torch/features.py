"""What layers of PyTorch's modules take and give: by forward hooks for one pass, in evaluation mode, on values that
take the parameters' places. The module is left as it was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from impls.frameworks.torch.module import ModuleFunction, one_at_a_time, unwrapped
from impls.frameworks.torch.support import apart
from impls.frameworks.watching import Observed, Recording, missing_layer


@one_at_a_time
def observe(model: nn.Module, x: Any, layers: Sequence[str]) -> Observed:
    """One forward pass on the batch `x`. Raises `InputError` for a layer that is not there."""
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
        stack.enter_context(apart())
        for path in recording.paths:
            handle = parts[path].register_forward_hook(
                lambda _, given, got, path=path: recording.used(path, given[0] if given else None, got))
            stack.callback(handle.remove)
        outputs = function(function.params, x)
    return Observed(outputs, recording.found, {path: parts[path] for path in recording.paths})


def _like_parameters(x: Any, function: ModuleFunction) -> Tensor:
    """On the device of the parameters and in their dtype, but for integers, which are tokens."""
    like = next(iter(function.params.values()), torch.zeros(()))
    tensor = torch.as_tensor(x, device=like.device)
    return tensor.to(like.dtype) if tensor.is_floating_point() else tensor
