"""Averages over the initialisations of a network, for PyTorch: of whatever makes a fresh module.

K̂ = (1/S) Σ_s f(θ_s, x1) f(θ_s, x2)ᵀ is unbiased (reference/DEFINITION.md, "nngp"). One set of draws serves x1 and x2.
The modules draw from PyTorch's global generators, as `nn.Linear` does; these are seeded for the time, and then put
back as they were. Memory: S·N·O for the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from impls.frameworks.torch.checks import check_output
from impls.frameworks.torch.module import check_held
from reference import InputError
from reference.case import Outputs

Make = Callable[[], Any]
"""A freshly initialised module, drawn from the global generators."""

_FULL = {"full": "nas,mbs->nmab", "diagonal": "nas,mas->nma", "trace": "nas,mas->nm"}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the global generators are seeded; outside they are as they were."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(_of_all_bits(seed))
        yield


def _of_all_bits(seed: int) -> int:
    """The seed itself where the CPU's generator, which takes the last 32 bits alone, can tell it from all others."""
    if 0 <= seed < 2**32:
        return seed
    return int(np.random.SeedSequence(seed % 2**64).generate_state(1, np.uint64)[0])


def outputs_of_draws(make: Make, x: Tensor, n_samples: int, seed: int, batch_size: int | None = None) -> Tensor:
    """f(θ_s, x) of every draw in evaluation mode: (N, O, S), on the device and in the dtype of the parameters.

    Raises `InputError` for a factory that makes no new module each time.
    """
    drawn: list[Tensor] = []
    last: Any = None
    with seeded(seed), torch.no_grad():
        for _ in range(n_samples):
            module = make()
            if not isinstance(module, nn.Module) or module is last:
                what = "the very module of before" if module is last else type(module).__name__
                raise InputError(f"the factory must return a new torch.nn.Module each time, got {what}; give e.g. "
                                 "lambda: nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 1))")
            drawn.append(_outputs(module.eval(), x, batch_size))
            last = module
    if torch.equal(drawn[0], drawn[1]) and bool(drawn[0].any()):
        raise InputError("two networks of the factory have the same outputs: it must draw its parameters anew each "
                         "time, from PyTorch's global generator")
    return torch.stack(drawn, dim=-1)


def average(drawn: Tensor, n1: int, symmetric: bool, outputs: Outputs) -> Tensor:
    """The estimate from outputs (N, O, S) of x1 and then x2: (N1, N2, O, O), (N1, N2, O) or (N1, N2)."""
    return torch.einsum(_FULL[outputs], drawn[:n1], drawn[:n1] if symmetric else drawn[n1:]) / drawn.shape[-1]


def standard_error(drawn: Tensor, n1: int, symmetric: bool, outputs: Outputs) -> Tensor:
    """That of each entry of `average`: the spread of one draw over √S."""
    first, second, n_samples = drawn[:n1], drawn[:n1] if symmetric else drawn[n1:], drawn.shape[-1]
    if outputs == "trace":
        rows = [torch.einsum("as,mas->ms", row, second).std(dim=-1) for row in first]
        return torch.stack(rows) / math.sqrt(n_samples)
    mean = torch.einsum(_FULL[outputs], first, second) / n_samples
    squares = torch.einsum(_FULL[outputs], first**2, second**2) / n_samples
    return ((squares - mean**2).clamp(min=0) / (n_samples - 1)).sqrt()


def _outputs(module: nn.Module, x: Tensor, batch_size: int | None) -> Tensor:
    like = next(module.parameters(), None)
    if like is not None:
        check_held(like, "a network of the factory")
        x = x.to(device=like.device, dtype=like.dtype if x.is_floating_point() else None)
    size = len(x) if batch_size is None else batch_size
    return torch.cat([_flat(module(part), len(part)) for part in x.split(size)])


def _flat(y: Any, n_examples: int) -> Tensor:
    check_output(y, n_examples)
    return y.detach().reshape(n_examples, -1)
