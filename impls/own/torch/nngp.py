"""The average over the modules that a factory of PyTorch's makes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from impls.frameworks.torch import initialisations
from impls.frameworks.torch.initialisations import outputs_of_draws
from impls.frameworks.torch.module import one_at_a_time
from impls.frameworks.torch.support import precision
from reference import Request


@one_at_a_time  # the global generator is all threads'
def average(factory: Callable[[], nn.Module], x: np.ndarray, n1: int, symmetric: bool, n_samples: int,
            request: Request) -> tuple[Tensor, Tensor]:
    """The kernel and its standard error, in the dtype of the outputs and on the device of the modules."""
    with precision("float32"):
        examples = torch.tensor(x, device="cpu")
        drawn = outputs_of_draws(factory, examples, n_samples, request.seed, request.batch_size)
        how = n1, symmetric, request.outputs
        return initialisations.average(drawn, *how), initialisations.standard_error(drawn, *how)
