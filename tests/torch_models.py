"""Modules as users write them, and the kernel by plain `backward()`, for the tests of the PyTorch methods."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from impls.given.user_network import UserNetwork
from reference import Case, Expected, round_to_float32, seed_of
from tests.naive_kernels import from_jacobians

IMAGE = (2, 6, 6)


class ResidualNet(nn.Module):
    """Tied convolutions, normalisations with running statistics and without, dropout, an unused and a frozen layer, and
    outputs on two axes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(IMAGE[0], 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.middle = nn.Conv2d(4, 4, 3, padding=1)
        self.again = self.middle
        self.group_norm = nn.GroupNorm(2, 4)
        self.dropout = nn.Dropout(0.5)
        self.unused = nn.Linear(3, 3)
        self.frozen = nn.Linear(4 * 9, 5).requires_grad_(False)
        self.head = nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.norm(self.stem(x)))
        h = h + self.group_norm(self.middle(h))
        h = nn.functional.max_pool2d(self.dropout(self.again(h)), 2)
        return self.head(torch.sin(self.frozen(h.flatten(1)))).reshape(-1, 2, 3)


class Attention(nn.Module):
    """A transformer block over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(12, 3, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(x.transpose(1, 2).flatten(2)).mean(1))


class TiedLinear(nn.Module):
    """One weight for both layers; one output for each example, without an axis of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(72, 72)
        self.second = nn.Linear(72, 72, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x.flatten(1)))).sum(1)


MODELS = (ResidualNet, Attention, TiedLinear)


def model(kind: type[nn.Module]) -> nn.Module:
    """The module with parameters and running statistics of its own, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(kind.__name__))
        built = kind().train()
        with torch.no_grad():
            built(torch.randn(16, *IMAGE))  # moves the running statistics away from 0 and 1
    return built


def user_case(module: nn.Module, n1: int = 5, n2: int | None = 3) -> Case:
    rng = np.random.default_rng(seed_of(type(module).__name__))
    x1 = round_to_float32(rng.standard_normal((n1, *IMAGE)))
    x2 = None if n2 is None else round_to_float32(rng.standard_normal((n2, *IMAGE)))
    return Case(type(module).__name__, UserNetwork("torch", module), {}, x1, x2)


def naive_expected(module: nn.Module, case: Case) -> Expected:
    """The kernel in float64 from one `backward()` for each example and output."""
    double = copy.deepcopy(module).double().eval()
    j1 = _naive_jacobian(double, case.x1)
    j2 = j1 if case.x2 is None else _naive_jacobian(double, case.x2)
    return from_jacobians(j1, j2)


def _naive_jacobian(module: nn.Module, x: np.ndarray) -> np.ndarray:
    return np.stack([_naive_gradients(module, torch.tensor(example[None])) for example in x])


def _naive_gradients(module: nn.Module, example: Tensor) -> np.ndarray:
    rows = []
    for a in range(module(example).numel()):
        module.zero_grad()
        module(example).flatten()[a].backward()
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p)
                     for p in module.parameters() if p.requires_grad]
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]).numpy())
    return np.stack(rows)
